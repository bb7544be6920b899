"""The service: an agent behind HTTP, with its page. `create_app` makes the ASGI application.

Outside: `api` (what is spoken) and `users`, `security` (who may speak). Inside: `runs` (a run and
those who read it, apart from connections) on `storage` (what is kept). `records`, `errors` and
`interfaces` are what they share.
"""
