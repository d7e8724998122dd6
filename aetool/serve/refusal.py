"""A request that gets no result."""


class Refusal(Exception):  # noqa: N818 - not aetool's error: it is an answer
    """What the client is told instead of a result.

    Attributes:
        status: of the HTTP response, 4xx or 503.
        message: for the person who wrote the client.
        retry_after_s: when to come again; None where that is of no use.
        hang_up: the rest of the request was not read, so that the connection cannot be used any more.
    """

    def __init__(
        self, status: int, message: str, *, retry_after_s: int | None = None, hang_up: bool = False
    ) -> None:
        self.status, self.message, self.retry_after_s, self.hang_up = status, message, retry_after_s, hang_up
        super().__init__(message)
