"""Prints exchanges with GitHub itself, one JSON object a line, out of the source packages of two client libraries.

Both record what their tests said to api.github.com. The packages are fetched by pip into the folder that the argument names, and
are no part of this repository. Each line has: from, method, path, headers, body, status, answer.
"""

import ast
import base64
import gzip
import io
import json
import pathlib
import subprocess
import sys
import tarfile
import urllib.parse

PACKAGES = ["pygithub==2.10.0", "github3.py==4.0.1"]


def fetch(folder):
    for package in PACKAGES:
        name = package.split("==")[0]
        if not list(folder.glob(name + "-*.tar.gz")):
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", package]
            subprocess.run(pip + ["--dest", str(folder)], check=True)
    return [next(folder.glob(package.split("==")[0] + "-*.tar.gz")) for package in PACKAGES]


def files(archive, part, suffix):
    with tarfile.open(archive) as tar:
        for member in tar:
            if part in member.name and member.name.endswith(suffix):
                yield member.name.rsplit("/", 1)[-1], tar.extractfile(member).read().decode("utf-8", "replace")


def pygithub(archive):
    """Blocks of ten lines, with a line between them."""
    for name, text in files(archive, "/tests/ReplayData/", ".txt"):
        lines = io.StringIO(text)
        while True:
            block = [lines.readline() for _ in range(11)]
            if not block[9]:
                break
            _, method, host, _, path, headers, body, status, _, answer, _ = [line.rstrip("\n") for line in block]
            if host != "api.github.com" or not status.isdigit():
                continue
            try:
                sent = ast.literal_eval(headers)
            except SyntaxError:
                # A path with a line break in it: the rest of the file is out of step.
                break
            body = "" if body == "None" else body
            yield name, method, path, sent, body, int(status), answer


def content(body):
    if isinstance(body, str):
        return body
    if not body:
        return ""
    if "base64_string" in body:
        data = base64.b64decode(body["base64_string"])
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8", "replace")
    return body.get("string") or ""


def github3(archive):
    for name, text in files(archive, "/tests/cassettes/", ".json"):
        for one in json.loads(text)["http_interactions"]:
            asked, told = one["request"], one["response"]
            url = urllib.parse.urlsplit(asked["uri"])
            if url.hostname != "api.github.com":
                continue
            path = url.path + ("?" + url.query if url.query else "")
            headers = {key: value[0] if isinstance(value, list) else value for key, value in asked["headers"].items()}
            yield name, asked["method"], path, headers, content(asked["body"]), told.get("status", {}).get("code") or told["status_code"], content(told["body"])


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    first, second = fetch(folder)
    for source in (pygithub(first), github3(second)):
        for name, method, path, headers, body, status, answer in source:
            kept = {key: value for key, value in headers.items() if key.lower() in ("content-type", "accept", "authorization")}
            row = {"from": name, "method": method, "path": path, "headers": kept, "body": body, "status": status}
            try:
                row["answer"] = json.loads(answer)
            except ValueError:
                row["answer"] = None
            print(json.dumps(row))


main()
