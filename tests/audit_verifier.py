"""A second verifier of ledgers, written from docs/ledger-format.md with nothing but Python's standard library.

    python3 audit_verifier.py <public key> <ledger directory>...

Prints one line of JSON for each directory; exits 1 if any of them does not verify.
"""

import base64
import hashlib
import json
import os
import re
import sys


def sha256(data):
    return hashlib.sha256(data).digest()


# --- Ed25519 (RFC 8032), verification only ------------------------------------------------------------------------

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_1 = pow(2, (P - 1) // 4, P)


def add(p, q):
    a = (p[1] - p[0]) * (q[1] - q[0]) % P
    b = (p[1] + p[0]) * (q[1] + q[0]) % P
    c = 2 * p[3] * q[3] * D % P
    d = 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(s, p):
    q = (0, 1, 1, 0)
    while s > 0:
        if s & 1:
            q = add(q, p)
        p = add(p, p)
        s >>= 1
    return q


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if x2 == 0:
        return None if sign else (0, y, 1, 0)
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * ROOT_OF_MINUS_1 % P
    if (x * x - x2) % P:
        return None
    if x & 1 != sign:
        x = P - x
    return (x, y, 1, x * y % P)


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signature_fits(public, message, signature):
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = decompress(public), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % L
    left, right = multiply(s, BASE), add(r, multiply(h, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# --- notes and checkpoints ----------------------------------------------------------------------------------------


class Key:
    def __init__(self, text):
        self.name, key_id, key = text.strip().split("+", 2)
        key = base64.b64decode(key, validate=True)
        self.public = key[1:]
        self.id = sha256(self.name.encode() + b"\n\x01" + self.public)[:4]
        if key[0] != 1 or len(self.public) != 32 or self.id.hex() != key_id:
            raise ValueError("this is not a public key")


KNOWN = {}


def checkpoint(note, key):
    """(size, root) of a signed checkpoint, or None if it is bad in any way."""
    if note not in KNOWN:
        try:
            KNOWN[note] = read_checkpoint(note.decode("utf-8"), key)
        except ValueError:
            KNOWN[note] = None
    return KNOWN[note]


def read_checkpoint(note, key):
    if any(ord(c) < 32 and c != "\n" for c in note):
        return None
    end = note.rfind("\n\n")
    if end < 0 or not note.endswith("\n"):
        return None
    text, signatures = note[: end + 1], note[end + 2 : -1].split("\n")
    signed = False
    for line in signatures:
        match = re.fullmatch("\u2014 ([^ ]+) ([^ ]+)", line)
        if not match:
            return None
        data = base64.b64decode(match[2], validate=True)
        if match[1] == key.name and data[:4] == key.id:
            if not signature_fits(key.public, text.encode(), data[4:]):
                return None
            signed = True
    lines = text.split("\n")
    if not signed or len(lines) < 4 or lines[0] != key.name or not re.fullmatch("0|[1-9][0-9]*", lines[1]):
        return None
    root = base64.b64decode(lines[2], validate=True)
    return (int(lines[1]), root) if len(root) == 32 else None


# --- the tree ----------------------------------------------------------------------------------------------------


class Tree:
    def __init__(self, size=0, nodes=()):
        self.size, self.nodes = size, list(nodes)

    def copy(self):
        return Tree(self.size, self.nodes)

    def push(self, leaf):
        self.size += 1
        size = self.size
        while size % 2 == 0:
            leaf = sha256(b"\x01" + self.nodes.pop() + leaf)
            size //= 2
        self.nodes.append(leaf)

    def root(self):
        if not self.nodes:
            return sha256(b"")
        root = self.nodes[-1]
        for node in reversed(self.nodes[:-1]):
            root = sha256(b"\x01" + node + root)
        return root


# --- lines --------------------------------------------------------------------------------------------------------

PLAIN = rb'[!#-*,-\[\]-~]{1,200}'
NUMBER = rb"(0|[1-9][0-9]*)"
LEAD = re.compile(
    rb'\{"v":1,"log":"(' + PLAIN + rb')","seq":' + NUMBER + rb',"batch":' + NUMBER
    + rb',"at":"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)\.\d{3}Z","kind":"(' + PLAIN + rb')"'
    + rb'(?:,"session":"(' + PLAIN + rb')","sseq":' + NUMBER + rb')?'
    + rb'(?:,"opens":"(' + PLAIN + rb')")?(?:,"closes":"(' + PLAIN + rb')")?,"prev":"([0-9a-f]{64})"'
)


class Line:
    """A line with its place. `record` says whether it is one."""

    def __init__(self, data, file, number, whole, before):
        self.file, self.number, self.whole, self.before = file, number, whole, before
        self.size = len(data)
        self.record = False
        self.seq = None
        match = LEAD.match(data)
        if not whole or not match or not is_date(match):
            return
        try:
            self.json = json.loads(data.decode("utf-8"), parse_constant=refuse, object_pairs_hook=Members)
        except ValueError:
            return
        at = data.find(b',"open":')
        leaf = data[:at] if at >= 0 else data[:-1]
        if data[-1:] != b"}":
            return
        self.open = self.json.get("open") if at >= 0 else None
        self.has_open = at >= 0
        self.log, self.kind = match[1].decode(), match[10].decode()
        self.seq, self.prev = int(match[2]), bytes.fromhex(match[15].decode())
        self.session = match[11].decode() if match[11] else None
        self.sseq = int(match[12]) if match[12] else None
        self.opens = match[13].decode() if match[13] else None
        self.closes = match[14].decode() if match[14] else None
        self.hash = sha256(b"\x00" + leaf)
        self.record = True


class Members(dict):
    """An object; `twice` says whether a member is named twice."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.twice = len(self) != len(pairs)


def refuse(name):
    raise ValueError(name)


def is_date(match):
    year, month, day, hour, minute, second = (int(match[i]) for i in range(4, 10))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    return year >= 1970 and 1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minute < 60 and second < 60


def linked(a, b):
    return a.record and b.record and b.seq == a.seq + 1 and b.prev == a.hash


HEX = re.compile("[0-9a-f]{64}")


def header_members(line):
    """The header's own members, if they are as the format has them."""
    if line.kind != "segment" or not isinstance(line.json.get("frontier"), list):
        return None
    header = line.json
    good = (
        isinstance(header.get("segment"), int)
        and all(isinstance(h, str) and HEX.fullmatch(h) for h in header["frontier"])
        and isinstance(header.get("sessions"), dict)
        and isinstance(header.get("intents"), list)
        and all(isinstance(i, dict) and isinstance(i.get("seq"), int) and isinstance(i.get("id"), str) for i in header["intents"])
        and all(isinstance(n, int) for n in header["sessions"].values())
    )
    after = header.get("after")
    if after is not None:
        good = good and isinstance(after, dict) and after.get("ended") in ("closed", "sealed", "stopped")
        good = good and isinstance(after.get("lines"), int) and isinstance(after.get("segment"), str)
    return header if good else None


# --- the verifier -------------------------------------------------------------------------------------------------


class Verifier:
    def __init__(self, directory, key):
        self.dir, self.key = directory, key
        self.names = sorted(n for n in os.listdir(directory) if re.fullmatch(r"\d{8,}\.jsonl", n))
        self.findings, self.kinds = [], {}
        self.empty = []
        self.outside = 0
        self.checked = 0
        self.sessions, self.intents, self.lenient = {}, {}, False
        self.anchor, self.expected, self.island = None, 0, []
        self.tree, self.agreed, self.behind, self.disagreed = Tree(), 0, None, False
        self.notes = self.read_notes()

    def find(self, what, file, line, first, last):
        self.findings.append([what, file, line, first, last])

    def loss(self, what, line, first, last):
        self.lenient = True
        self.find(what, line.file, line.number, first, last)

    def read_notes(self):
        notes, bad = [], []
        # Histories first: the latest is never older, and the lines are read after both.
        for name in self.names:
            history = name.replace(".jsonl", ".checkpoints")
            path = os.path.join(self.dir, history)
            if not os.path.exists(path):
                continue
            with open(path, "rb") as file:
                lines = file.read().split(b"\n")[:-1]
            for at in range(0, len(lines) - len(lines) % 5, 5):
                note = checkpoint(b"\n".join(lines[at : at + 5]) + b"\n", self.key)
                if note is None:
                    bad.append((history, at + 1))
                else:
                    notes.append(note)
        self.latest = None
        path = os.path.join(self.dir, "checkpoint")
        if os.path.exists(path):
            with open(path, "rb") as file:
                self.latest = checkpoint(file.read(), self.key)
            if self.latest is None:
                bad.insert(0, ("checkpoint", 1))
        else:
            bad.insert(0, ("checkpoint", 0))
        earlier = max((size for size, _ in notes), default=0)
        if self.latest is not None and earlier > self.latest[0]:
            bad.append(("checkpoint", 2))
        self.bad = bad
        if self.latest is not None:
            notes.append(self.latest)
        self.signed = max((size for size, _ in notes), default=0)
        by_size = {}
        for size, root in notes:
            by_size.setdefault(size, []).append(root)
        return by_size

    def lines(self):
        """All lines that may belong to the log, across the segments."""
        before = None
        for index, name in enumerate(self.names):
            end = None
            if index + 1 < len(self.names):
                with open(os.path.join(self.dir, self.names[index + 1]), "rb") as file:
                    first = file.readline()
                head = Line(first[:-1], "", 1, first.endswith(b"\n"), None)
                members = header_members(head) if head.record else None
                if members and members.get("after") and members["after"]["ended"] != "closed":
                    end = (members["after"]["lines"] + 1, head.seq)
            offset, count, following = 0, 0, None
            with open(os.path.join(self.dir, name), "rb") as file:
                for number, data in enumerate(file, 1):
                    if end is not None and (number, following) == end:
                        self.outside += os.path.getsize(os.path.join(self.dir, name)) - offset
                        break
                    whole = data.endswith(b"\n")
                    line = Line(data[:-1] if whole else data, name, number, whole, before if number == 1 else None)
                    offset += len(data)
                    count = number
                    if line.record:
                        following = line.seq + 1
                    elif following is not None:
                        following += 1
                    yield line
            if count == 0:
                self.empty.append(name)
            before = (name, count)

    def run(self):
        if self.bad and self.bad[0][0] == "checkpoint" and self.bad[0][1] < 2:
            self.find("checkpoint", *self.bad.pop(0), 0, 0)
        self.compare()
        for line in self.lines():
            self.take(line)
        self.end()
        for name in self.empty:
            self.find("header", name, 0, self.expected, self.expected)
        for file, number in self.bad:
            self.find("checkpoint", file, number, 0, 0)
        root = self.tree.root().hex() if self.tree and self.tree.size == self.expected else None
        return {
            "dir": self.dir,
            "findings": self.findings,
            "size": self.expected,
            "signed": self.signed,
            "root": root,
            "checkpoints": self.checked,
            "outside_bytes": self.outside,
            "kinds": self.kinds,
            "open_intents": [intent["id"] for intent in self.open_intents()],
        }

    def follows(self, line):
        if self.anchor is not None:
            return linked(self.anchor, line)
        return line.record and self.expected == 0 and line.seq == 0 and line.prev == bytes(32)

    def take(self, line):
        if not self.island and self.follows(line):
            self.go_on(line)
            return
        self.island.append(line)
        if len(self.island) < 2:
            return
        q, last = self.island[-2:]
        if linked(q, last) and q.seq >= self.expected - 1:
            island, self.island = self.island[:-2], []
            self.resolve(island, q)
            self.take(last)

    def go_on(self, line):
        if self.anchor is not None:
            self.push(line.prev)
        self.accept(line)

    def resolve(self, island, q):
        anchor = self.anchor
        if q.seq <= self.expected and (q.seq == self.expected or anchor is not None):
            for line in island:
                self.loss("inserted", line, q.seq, q.seq)
        if anchor is not None and q.seq == self.expected - 1:
            self.loss("inserted", q if q.hash == anchor.hash else anchor, q.seq, q.seq)
            self.anchor, self.expected = None, q.seq
            self.accept(q)
        elif q.seq == self.expected:
            if anchor is not None and q.prev != anchor.hash:
                self.loss("altered", anchor, anchor.seq, anchor.seq)
            elif anchor is None and q.seq == 0 and q.prev != bytes(32):
                self.loss("altered", q, q.seq, q.seq)
            self.go_on(q)
        else:
            self.gap(island, q.seq, q)
            self.accept(q)

    def gap(self, island, until, q):
        start, anchor = self.expected, self.anchor
        if anchor is not None:
            self.push(anchor.hash)
        claims = {}
        for place, line in enumerate(island, start):
            if line.record and line.seq == place < until:
                claims[place] = line
        strays = []
        for line in island:
            if line.record and start <= line.seq < until:
                if claims.setdefault(line.seq, line) is line:
                    continue
            strays.append(line)

        def at(seq):
            if anchor is not None and anchor.seq == seq:
                return anchor
            return claims.get(seq) or (q if q is not None and q.seq == seq else None)

        found = []
        standing = [line.seq for line in island if line.record and claims.get(line.seq) is line]
        for seq, here in zip(sorted(claims), standing):
            if seq != here:
                found.append(("reordered", claims[here], here, here))
        altered = set()
        for seq, line in sorted(claims.items()):
            links = []
            if at(seq - 1) is not None:
                links.append(linked(at(seq - 1), line))
            if at(seq + 1) is not None:
                links.append(linked(line, at(seq + 1)))
            if links and not any(links):
                altered.add(seq)
                found.append(("altered", line, seq, seq))
        ends = q is None
        shown = q or (island[-1] if island else anchor)
        seq, strays = start, list(strays)
        while seq < until:
            if seq in claims:
                seq += 1
            elif strays:
                line = strays.pop(0)
                found.append(("cut_off" if ends and not line.whole else "altered", line, seq, seq))
                seq += 1
            else:
                first = seq
                while seq < until and seq not in claims:
                    seq += 1
                what = "cut_off" if ends and all(c < first for c in claims) else "dropped"
                line = claims.get(seq) or shown
                if line is None:
                    self.find(what, "checkpoint", 2, first, seq - 1)
                else:
                    found.append((what, line, first, seq - 1))
        for line in strays:
            if ends and not line.whole:
                self.outside += line.size
            else:
                found.append(("inserted", line, until, until))
        for seq in range(start, until):
            following, own = at(seq + 1), claims.get(seq)
            if following is not None and seq + 1 not in altered:
                self.push(following.prev)
            elif own is not None and seq not in altered:
                self.push(own.hash)
            else:
                self.tree = None
                break
        for what, line, first, last in sorted(found, key=lambda f: f[2]):
            self.loss(what, line, first, last)
        self.expected, self.anchor = until, None

    def end(self):
        island, self.island = self.island, []
        anchor = self.anchor
        only = island[0] if len(island) == 1 and island[0].record else None
        if only and anchor and self.latest and self.tree and only.seq == self.expected - 1 and only.hash != anchor.hash:
            tree = self.tree.copy()
            tree.push(only.hash)
            if self.latest == (tree.size, tree.root()):
                self.loss("inserted", anchor, only.seq, only.seq)
                self.anchor, self.expected, island = None, only.seq, []
                self.accept(only)
        elif only and anchor and self.latest and self.tree and only.seq == self.expected:
            tree = self.tree.copy()
            tree.push(only.prev)
            tree.push(only.hash)
            if self.latest == (tree.size, tree.root()):
                self.loss("altered", anchor, anchor.seq, anchor.seq)
                self.go_on(only)
                island = []
        if island or self.signed > self.expected:
            self.gap(island, max(self.signed, self.expected), None)
        elif self.anchor is not None:
            self.push(self.anchor.hash)

    def push(self, leaf):
        if self.tree is not None:
            self.tree.push(leaf)
            self.compare()

    def compare(self):
        root = self.tree.root()
        for signed in self.notes.get(self.tree.size, ()):
            self.checked += 1
            if signed == root:
                self.agreed, self.behind = self.tree.size, None
            elif not self.disagreed:
                self.disagreed = True
                what = "altered" if self.tree.size == self.agreed + 1 else "mismatch"
                self.find(what, *(self.behind or ("checkpoint", 1)), self.agreed, self.tree.size - 1)

    # --- what a record says ---

    def accept(self, line):
        tree = self.tree if self.tree and not self.disagreed and self.tree.size == line.seq else None
        header = self.content(line, tree)
        self.expected = line.seq + 1
        if self.tree is None or self.tree.size != line.seq:
            self.tree = None
            if header and len(header["frontier"]) == bin(line.seq).count("1"):
                self.tree = Tree(line.seq, [bytes.fromhex(h) for h in header["frontier"]])
        if self.behind is None:
            self.behind = (line.file, line.number)
        self.anchor = line

    def content(self, line, tree):
        def find(what):
            self.find(what, line.file, line.number, line.seq, line.seq)

        if line.log != self.key.name:
            find("altered")
        if line.has_open and not open_fits(line.open, line.json.get("digests", [])):
            find("open")
        if line.session is not None:
            if line.sseq != self.sessions.get(line.session, 0) + 1 and not self.lenient:
                find("session_gap")
            self.sessions[line.session] = line.sseq
        if line.opens is not None:
            intent = {"id": line.opens, "seq": line.seq, "kind": line.kind}
            if line.session is not None:
                intent["session"] = line.session
            self.intents[line.opens] = intent
        if line.closes is not None:
            self.intents.pop(line.closes, None)
        self.kinds[line.kind] = self.kinds.get(line.kind, 0) + 1
        if (line.kind == "segment") != (line.number == 1):
            find("header")
            return None
        if line.kind != "segment":
            return None
        header = header_members(line)
        if header is None:
            find("header")
            return None
        after = header.get("after")
        named = (after["segment"], after["lines"]) if after else None
        wrong = "%08d.jsonl" % header["segment"] != line.file
        wrong |= named != line.before and not (line.before is None and line.seq > 0)
        wrong |= len(header["frontier"]) != bin(line.seq).count("1")
        wrong |= tree is not None and [n.hex() for n in tree.nodes] != header["frontier"]
        if not self.lenient:
            wrong |= any(self.sessions.get(s) != n for s, n in header["sessions"].items())
            wrong |= self.open_intents() != header["intents"]
        if wrong:
            find("header")
        self.sessions = dict(header["sessions"])
        self.intents = {intent["id"]: intent for intent in header["intents"]}
        self.lenient = False
        return header

    def open_intents(self):
        return sorted(self.intents.values(), key=lambda i: (i["seq"], i["id"]))


def open_fits(people, digests):
    if not isinstance(people, list) or not isinstance(digests, list):
        return False
    if any(getattr(entry, "twice", True) for entry in digests):
        return False
    for index, person in enumerate(people):
        if person is None:
            continue
        if getattr(person, "twice", True):
            return False
        try:
            salt = bytes.fromhex(person["salt"])
            for name, value in person.items():
                if name == "salt":
                    continue
                if sha256(salt + name.encode() + b"\0" + value.encode()).hex() != digests[index].get(name):
                    return False
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return False
    return True


def main():
    key, clean = Key(sys.argv[1]), True
    for directory in sys.argv[2:]:
        report = Verifier(directory, key).run()
        clean = clean and not report["findings"]
        print(json.dumps(report))
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())
