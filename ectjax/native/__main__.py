"""`python -m ectjax.native`: compile the library for this machine, once."""

import sys

from ectjax.native.library import NoCompiler, build, library_path


def main() -> int:
    """Build and say where it is; 2 with one line of error where that fails."""
    print("there already:" if library_path().exists() else "compiling, about half a minute ...", flush=True)
    try:
        print(build())
    except NoCompiler as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: the library cannot be written: {error}; set ECTJAX_CACHE to a folder of yours", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
