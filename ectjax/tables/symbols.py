"""Chemical symbols and atomic numbers."""

SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe"
).split()
NUMBERS = {symbol: number for number, symbol in enumerate(SYMBOLS, start=1)}


def symbol_of(symbol_or_number: str | int) -> str:
    """The chemical symbol of a symbol (any case) or an atomic number; ValueError when there is no such element."""
    text = str(symbol_or_number).strip()
    if text.isdigit():
        if 1 <= int(text) <= len(SYMBOLS):
            return SYMBOLS[int(text) - 1]
    elif text.capitalize() in NUMBERS:
        return text.capitalize()
    raise ValueError(
        f"unknown element {symbol_or_number!r}; allowed are symbols H to Xe or atomic numbers 1 to {len(SYMBOLS)}"
    )
