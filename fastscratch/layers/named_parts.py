"""When layers that could be computed as one are not: somebody named what is to run for a part."""

from collections.abc import Collection

from fastscratch.dispatch import current_settings


def parts_are_named(parts: Collection[str], whole: Collection[str]) -> bool:
    """Whether somebody chose an implementation of a part, which is to run then.

    Parameters
    ----------
    parts, whole : collection of str
        Operations of the layers one by one, and of all of them as one. Where both are named, the
        whole runs.

    Returns
    -------
    bool

    Examples
    --------
    >>> from fastscratch import use_backend
    >>> with use_backend(relu_forward="numpy"):
    ...     parts_are_named(["relu_forward"], ["add_relu_forward"])
    True
    """
    settings = current_settings()
    named = settings.per_op + settings.environment.per_op + settings.file.per_op
    if not named:
        return False
    ops_named = dict(named).keys()
    return not ops_named.isdisjoint(parts) and ops_named.isdisjoint(whole)
