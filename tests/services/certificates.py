"""A certificate authority for one test, and a certificate of it for 127.0.0.1 and localhost."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificates:
    """PEM files: whom a client trusts, what the server shows, its key, and the last two in one."""

    authority: Path
    certificate: Path
    key: Path
    both: Path


def make_certificates(folder: Path) -> Certificates:
    """Write them into the folder, valid for thirty days."""
    folder.mkdir(parents=True, exist_ok=True)
    files = Certificates(*(folder / name for name in ("ca.pem", "server.pem", "server.key", "both.pem")))
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = _name("onefold test authority")
    own = _builder(name, name, authority).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    shown = _builder(_name("localhost"), name, server).add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    files.authority.write_bytes(_signed(own, authority))
    files.certificate.write_bytes(_signed(shown, authority))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files.key.write_bytes(server.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    files.both.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
    return files


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
    )


def _signed(builder: x509.CertificateBuilder, authority: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
