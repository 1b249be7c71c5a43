from tests.s3.conftest import server

__all__ = ["server"]
