"""What comes in and what goes out: a guard before the application, for whatever user.

Who may use it is decided in `users`.
"""

from .guard import Guard, add_security

__all__ = ["Guard", "add_security"]
