"""Owns the proof that both QUIC engines keep engine.py's contract, each with itself and with the other."""

from shardd.transport.aioquic_engine import AioquicEngine
from shardd.transport.qh3_engine import Qh3Engine
from tests.contract_suites.quic_engines import QuicEngineContract


class TestQh3(QuicEngineContract):
    client_engine = Qh3Engine()
    server_engine = Qh3Engine()


class TestAioquic(QuicEngineContract):
    client_engine = AioquicEngine()
    server_engine = AioquicEngine()


class TestQh3AsksAioquic(QuicEngineContract):
    client_engine = Qh3Engine()
    server_engine = AioquicEngine()


class TestAioquicAsksQh3(QuicEngineContract):
    client_engine = AioquicEngine()
    server_engine = Qh3Engine()
