"""A Hugging Face hub on this machine: the files of one folder, served as one model repository.

It speaks what `huggingface_hub.hf_hub_download` asks (written against version 2.4.0). The client
reads HF_ENDPOINT when it is imported, so it works in a process started with that variable:

    with serve_repository("timm/convnextv2_test", folder) as server:
        subprocess.run([...], env={**os.environ, "HF_ENDPOINT": server.url, "HF_HOME": ...})
"""

import contextlib
import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REVISIONS = ("main", COMMIT)


class HubServer(ThreadingHTTPServer):
    """Serves `folder`, as it is at each request, as the repository `repo_id`.

    Attributes:
        url: what HF_ENDPOINT is to be, "http://127.0.0.1:PORT".
        requests: list of (method, path), in the order they came.
        truncate: name of a file of which no byte past its half arrives, or None. Its
            Content-Length is announced in full, then the connection closes.
        token: the token without which the repository is closed, or None for an open one.
    """

    def __init__(self, repo_id, folder):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repo_id = repo_id
        self.folder = Path(folder)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests = []
        self.truncate = None
        self.token = None

    def content(self, name):
        """The bytes of a file by its name in the repository, or None if there is none."""
        # Looked up among the files there are, so that no name leads out of the folder.
        for path in self.folder.rglob("*"):
            if path.is_file() and path.relative_to(self.folder).as_posix() == name:
                return path.read_bytes()
        return None


@contextlib.contextmanager
def serve_repository(repo_id, folder):
    """Serves a folder as a hub's repository while the context lasts.

    Args:
        repo_id: for instance "timm/convnextv2_test"; any other repository is unknown.
        folder: path of the folder; files may be added or changed while it is served.

    Yields:
        HubServer, whose `truncate` and `token` may be set at any time.
    """
    with HubServer(repo_id, folder) as server:
        # The default interval would add half a second to the end of each test.
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    # HTTP/1.0, one request a connection: a connection kept alive would outlive the server.
    protocol_version = "HTTP/1.0"

    def do_HEAD(self):
        self.server.requests.append((self.command, self.path))
        if self.path == "/api/agent-harnesses":
            # Asked once a day for the user agent; without an answer, in each process again.
            self._send(200, b'{"standardEnvVars": [], "harnesses": {}}')
        elif match := re.fullmatch(r"/(.+?)/resolve/([^/]+)/([^?]+)", self.path):
            self._resolve(*map(unquote, match.groups()))
        else:
            self._refuse(404, None, "Not found")

    do_GET = do_HEAD

    def _resolve(self, repo_id, revision, name):
        authorization = self.headers.get("Authorization")
        if repo_id != self.server.repo_id:
            # The hub does not tell a stranger whether a repository is missing or private.
            if authorization is None:
                self._refuse(401, "RepoNotFound", "Invalid username or password.")
            else:
                self._refuse(404, "RepoNotFound", "Repository not found")
        elif self.server.token and authorization is None:
            self._refuse(
                401,
                "GatedRepo",
                f"Access to model {repo_id} is restricted. You must have access to it and be"
                " authenticated to access it. Please log in.",
            )
        elif self.server.token and authorization != f"Bearer {self.server.token}":
            # The hub sends no code here; the client knows the case by this very message.
            self._refuse(401, None, "Invalid credentials in Authorization header")
        elif revision not in REVISIONS:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif (content := self.server.content(name)) is None:
            # With the commit, the client notes in its cache that the file does not exist.
            self._refuse(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": COMMIT})
        else:
            self._send_file(name, content)

    def _send_file(self, name, content):
        headers = {
            # The client names its copy after the ETag; a large file's is its SHA-256.
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        size, start, stop, status = len(content), 0, len(content), 200
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start = int(wanted[1])
            stop = min(size, int(wanted[2]) + 1) if wanted[2] else size
            if start >= stop:
                self._refuse(416, None, "Not satisfiable", {"Content-Range": f"bytes */{size}"})
                return
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
            status = 206
        cut = min(stop, size // 2) if name == self.server.truncate else stop
        self._send(status, content[start:cut], {**headers, "Content-Length": stop - start})

    def _refuse(self, status, code, message, headers=None):
        headers = {"X-Error-Message": message, **(headers or {})}
        if code is not None:
            headers["X-Error-Code"] = code
        self._send(status, b"", headers)

    def _send(self, status, body, headers=None):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **(headers or {})}.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *args):
        """Keeps quiet; `requests` is the log."""
