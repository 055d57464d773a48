"""The addresses of a name, tried as browsers do (RFC 8305)."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from netmon.probing import staggered

DELAY_SECONDS = 0.25
"""How long an address may be silent before the next one is tried as well."""

T = TypeVar("T")


async def reach(addresses: Sequence[str], attempt: Callable[[str], Awaitable[T]]) -> T:
    """The result of `attempt` with the first address with which it succeeds.

    Raises:
        OSError: the attempts with all addresses failed by one; the text has the errors of all if they differ.
    """
    try:
        return await staggered.first([partial(attempt, address) for address in addresses], DELAY_SECONDS, (OSError,))
    except staggered.AllFailedError as error:
        if len({str(failure) for failure in error.failures}) == 1:
            raise error.failures[0] from None
        raise OSError(", ".join(map(str, error.failures))) from None
