"""Owns the look of a drill's page, light and dark; names no file and no font of anybody's."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --page: #fff; --text: #1d2733; --soft: #5d6b7a; --rule: #dde3ea; --shade: #f3d9b566;
  --a: #1f6fd6; --b: #c2410c; --c: #7c3aed; --d: #0f8a7e;
  --good: #2e9e5b; --bad: #d23b3b; --warn: #b97f0e; --other: #8a63d2; }
@media (prefers-color-scheme: dark) { :root { --page: #12171e; --text: #e3e9f0; --soft: #9aa8b7; --rule: #2b3542;
  --shade: #6b4a1a66; --a: #6cb0ff; --b: #ff9a5c; --c: #b79bff; --d: #4fd1c2;
  --good: #3fae6b; --bad: #e96565; --warn: #d9a53a; --other: #a78be0; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  max-width: 1000px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.soft, .tick { color: var(--soft); fill: var(--soft); }
.tick { font: 11px system-ui, sans-serif; }
.sign { display: inline-block; padding: .15rem .7rem; border-radius: 1rem; color: #fff; font-weight: 600; }
.sign.good { background: #1d7f45; }
.sign.bad { background: #c02b2b; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--rule); }
th { color: var(--soft); font-weight: 500; }
td.good, td.bad { font-weight: 600; }
figure { margin: 0 0 1.2rem; }
figcaption { font-weight: 600; margin-bottom: .2rem; }
svg { width: 100%; height: auto; display: block; }
.a { color: var(--a); } .b { color: var(--b); } .c { color: var(--c); } .d { color: var(--d); }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); } .other { color: var(--other); }
.sign.good, .sign.bad { color: #fff; }
.grid { stroke: var(--rule); }
.shade { fill: var(--shade); }
.line { fill: none; stroke: currentColor; stroke-width: 1.6; stroke-linejoin: round; }
.fill { fill: currentColor; }
.key { font-weight: 400; font-size: .85rem; margin-left: 1rem; }
.key::before { content: ""; display: inline-block; width: .8rem; height: .8rem; border-radius: .2rem;
  margin-right: .35rem; vertical-align: -.1rem; background: currentColor; }
code { font-size: .9em; overflow-wrap: anywhere; }
"""
