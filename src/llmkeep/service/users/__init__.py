"""Who asks, and how much of it they may: the ways to sign in, and the limits of each user."""

from .limits import UserLimits
from .signing_in import SignIn, administrator, check_exposure, make_sign_in, signed_in

__all__ = [
    "SignIn",
    "UserLimits",
    "administrator",
    "check_exposure",
    "make_sign_in",
    "signed_in",
]
