"""Receivers of alerts for tests: an SMTP server with STARTTLS, one with TLS from the start (both aiosmtpd, a real server that is
not ours), and an HTTPS server. Each message that is taken becomes a file in a directory; where the file `refuse` is in it, none is taken.

Usage: receive.py DIRECTORY CERTIFICATE KEY; prints the three ports on one line when it serves, and ends with its standard input.
"""

import email
import json
import os
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

directory, certificate, key = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
lock = threading.Lock()


def context():
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.load_cert_chain(certificate, key)
    return made


def keep(kind, what):
    with lock:
        name = f"{kind}-{time.monotonic_ns()}"
        part = directory / (name + ".part")
        part.write_text(json.dumps(what))
        part.rename(directory / (name + ".json"))


class Letters:
    async def handle_DATA(self, server, session, envelope):
        if (directory / "refuse").exists():
            return "451 not now"
        keep("mail", {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None,
            "login": str(session.auth_data or ""),
            "text": envelope.content.decode("utf-8", "surrogateescape"),
            "body": email.message_from_bytes(envelope.content).get_payload(decode=True).decode("utf-8", "replace"),
        })
        return "250 taken"


def login(server, session, envelope, mechanism, data):
    good = data.login == b"turncoat" and data.password == b"secret"
    return AuthResult(success=good, auth_data="turncoat" if good else None, handled=False)


class Hooks(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if (directory / "refuse").exists():
            self.send_response(503)
        else:
            keep("hook", {"path": self.path, "headers": dict(self.headers), "body": json.loads(body)})
            self.send_response(204)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


class Start(Controller):
    def factory(self):
        return SMTP(self.handler, tls_context=context(), require_starttls=True, authenticator=login,
                    auth_required=True, enable_SMTPUTF8=False)


class Whole(Controller):
    def factory(self):
        return SMTP(self.handler, authenticator=login, auth_require_tls=False)


def free_port(wanted):
    import socket
    with socket.create_server(("127.0.0.1", wanted)) as probe:
        return probe.getsockname()[1]


ports = [int(p) for p in os.environ.get("PORTS", "0 0 0").split()]
ports[0], ports[1] = free_port(ports[0]), free_port(ports[1])
start = Start(Letters(), hostname="127.0.0.1", port=ports[0])
start.start()
whole = Whole(Letters(), hostname="127.0.0.1", port=ports[1], ssl_context=context())
whole.start()
http = ThreadingHTTPServer(("127.0.0.1", ports[2]), Hooks)
http.socket = context().wrap_socket(http.socket, server_side=True)
threading.Thread(target=http.serve_forever, daemon=True).start()
print(ports[0], ports[1], http.server_address[1], flush=True)
sys.stdin.read()
os._exit(0)
