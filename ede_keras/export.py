"""`python -m ede_keras.export`: exports a finished run for TF Serving, as `ede-export` does."""

from ede_keras.cli.export import run

if __name__ == "__main__":
    run()
