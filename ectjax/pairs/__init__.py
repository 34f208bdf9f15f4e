"""Pair functions of two ensemble states: background density h(R), Coulomb penetration φ(R), two-centre u(R)."""
