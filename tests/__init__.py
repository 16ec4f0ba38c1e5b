"""The test suite; `tests.conftest` says how to use its fixtures."""
