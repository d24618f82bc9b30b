#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of the targets layer and patch: good inputs, and bad ones of
each kind that docs/image-format.md wants refused; and of virtio devices: what a
driver does, and what it must not do (ring.c has the steps); of the store.

  tests/fuzz/make_corpus.py [DIRECTORY]

DIRECTORY is tests/fuzz/corpus if not told else. What the fuzzer found lies
there too, and stays."""

import hashlib
import os
import struct
import sys

PAGES, ZERO, DIFFS = 0, 1 << 30, 2 << 30
NOTHING = b"\xff" * 8
SELF, MISSING = 7, 99
HEADER, TRAILER, TABLE, FILE = range(4)
RAW, PACKED, BENT, GIVEN = range(4)


def entry(first, count, at, layer=0):
    return struct.pack("<BBHI", first, count - 1, layer, at)


def diff(base, patch_page, offset, size, layer=0, zero=0):
    return struct.pack("<HHIIHH", layer, offset, base, patch_page, size, zero)


def level_of(size):
    last, level = (size - 1) >> 12, 0
    while last >> (8 * (level + 1)):
        level += 1
    return level


def root(size, top, level=None):
    if level is None:
        level = level_of(size)
    return struct.pack("<Q8sI12x", size, top, level)


def piece(offset, data):
    return struct.pack("<HH", offset, len(data)) + data


def change(where, offset, value, width=3):
    return struct.pack("<BBHQ", where, width, offset, value)


def layer(nodes=(), roots=(), diffs=(), imports=(), pages=4, flags=0,
          sums=None, changes=(), patches=b"", chunks=b""):
    """A description, as layerfile.h has it."""
    if sums is not None:
        flags |= 4
    return b"".join([
        bytes([1, flags, pages, len(changes)]),
        struct.pack("<4H", len(nodes), len(diffs), len(imports), len(roots)),
        bytes(imports), *diffs, *roots, *nodes,
        struct.pack("<%dQ" % len(sums or ()), *(sums or ())), *changes,
        struct.pack("<H", len(patches)), patches, chunks])


def leaf_image(*runs, **more):
    """One leaf of 256 pages; the top is entry 0 and the next."""
    return layer(list(runs), [root(1 << 20, entry(0, len(runs), 0))], **more)


def deep(levels, at=0):
    """A node a level, each the only child of the one above."""
    nodes = [entry(0, 2, 1)]
    nodes += [entry(0, 1, i) for i in range(levels)]
    return nodes, entry(0, 1, levels + at)


def layers():
    patch = piece(0, b"abc") + piece(4090, b"xyz456")
    n = len(patch)
    runs = [entry(0, 3, PAGES | 2), entry(5, 4, ZERO), entry(20, 1, DIFFS)]
    good = dict(diffs=[diff(2, 1, 0, n)], patches=patch)
    for flags, name in enumerate(["plain", "zstd", "aes", "both"]):
        for how, kind in enumerate(["raw", "packed"]):
            yield f"good-{name}-{kind}", leaf_image(
                *runs, flags=flags, chunks=bytes([how] * 3), **good)
    yield "good-draft", leaf_image(*runs, flags=8, **good)
    yield "good-many", leaf_image(
        *[entry(i * 2, 1, PAGES | 1 + i % 32) for i in range(128)], pages=32)
    yield "good-nothing", layer([], [root(1 << 30, NOTHING)], pages=0)
    yield "good-roots", layer(
        [entry(0, 2, 1)], [root(512, entry(0, 1, 0)), root(4096, NOTHING),
                           root(8192, entry(0, 1, 0))])
    for levels, size in enumerate([1 << 28, 1 << 36, 1 << 44, 1 << 52], 1):
        nodes, top = deep(levels)
        yield f"good-level-{levels}", layer(nodes, [root(size, top)], flags=8)
    yield "good-imports", leaf_image(
        entry(0, 8, PAGES | 1, 1), entry(10, 4, DIFFS, 2), entry(20, 1, DIFFS),
        imports=[0, 1, SELF], diffs=[diff(3, 1, 0, n, 1)], patches=patch,
        flags=8)
    yield "good-subtree", layer(
        [entry(0, 1, 0, 1), entry(1, 1, 0, 2), entry(7, 1, 2), entry(0, 1, 2)],
        [root(1 << 28, entry(0, 3, 0))], imports=[0, 1], flags=8)
    yield "same-child", layer(
        [entry(0, 1, PAGES | 1)] +
        [entry(i, 8, 1 + 8 * k) for k in range(4) for i in range(8)],
        [root(1 << 52, entry(0, 8, 25))])

    yield "import-beyond", leaf_image(entry(0, 1, PAGES | 1, 2), imports=[0])
    yield "import-missing", leaf_image(
        entry(0, 1, PAGES | 1, 1), imports=[MISSING])
    yield "import-of-child", layer(
        [entry(0, 1, 0, 9)], [root(1 << 28, entry(0, 1, 0))], imports=[0])
    yield "import-of-top", layer([], [root(1 << 20, entry(0, 1, 0, 3))])
    yield "import-beyond-theirs", leaf_image(
        entry(0, 1, PAGES | 30, 1), entry(1, 1, DIFFS | 30, 2), imports=[0, 1])
    for name, run in [("beyond", entry(250, 16, PAGES | 1)),
                      ("ends", entry(250, 6, PAGES | 1)),
                      ("zero-beyond", entry(255, 2, ZERO)),
                      ("diffs-beyond", entry(255, 2, DIFFS))]:
        yield f"run-{name}-leaf", layer(
            [run, entry(0, 1, PAGES | 9), entry(0, 1, 0), entry(1, 1, 1)],
            [root(1 << 21, entry(0, 2, 2))], pages=32, patches=patch,
            diffs=[diff(2, 1, 0, n)] * 2)
    yield "run-beyond-data", leaf_image(entry(0, 5, PAGES | 1))
    yield "run-of-page-0", leaf_image(entry(0, 1, PAGES))
    yield "run-of-kind-3", leaf_image(entry(0, 1, 3 << 30))
    yield "run-of-zero-at", leaf_image(entry(0, 1, ZERO | 1))
    yield "run-of-diffs-beyond", leaf_image(entry(0, 2, DIFFS), **good)
    yield "run-last", leaf_image(entry(255, 1, PAGES | 4), entry(3, 1, ZERO))
    yield "overlap", leaf_image(entry(0, 4, PAGES | 1), entry(2, 4, ZERO))
    yield "descending", leaf_image(
        entry(9, 1, PAGES | 1), entry(5, 9, ZERO), entry(0, 1, PAGES | 2))
    yield "node-beyond", layer(
        [entry(0, 1, 5)], [root(1 << 28, entry(0, 1, 0))])
    yield "node-crosses-page", layer(
        [entry(i % 256, 1, ZERO) for i in range(600)],
        [root(1 << 20, entry(0, 8, 508))])
    yield "node-last-at", layer(
        [entry(0, 1, 2**32 - 1)], [root(1 << 28, entry(0, 1, 0))])
    yield "root-level", layer([], [root(1 << 20, NOTHING, 1)])
    yield "root-index", layer(
        [entry(0, 1, ZERO)], [root(1 << 20, entry(1, 1, 0))])
    yield "root-size-0", layer([], [root(1, NOTHING, 0)])
    yield "root-size-big", layer([], [root(2**63, NOTHING, 4)])
    yield "root-none", layer([entry(0, 1, ZERO)])
    for name, d in [
            ("base-0", diff(0, 1, 0, n)), ("base-beyond", diff(9, 1, 0, n)),
            ("import", diff(2, 1, 0, n, 4)), ("patch-0", diff(2, 0, 0, n)),
            ("patch-beyond", diff(2, 9, 0, n)), ("empty", diff(2, 1, 0, 0)),
            ("long", diff(2, 1, 0, 513)), ("past-page", diff(2, 1, 4090, 10)),
            ("zero", diff(2, 1, 0, n, 0, 1)), ("cut", diff(2, 1, 0, n - 1))]:
        yield f"diff-{name}", leaf_image(
            entry(0, 1, DIFFS), diffs=[d], patches=patch)
    yield "sums-wrong", leaf_image(*runs, sums=[1, 2, 3, 4], **good)
    yield from changed(runs, good)


def changed(runs, good):
    """A good file but for some fields."""
    big = [2**64 - 1, 2**61, 3]
    fields = {"table-offset": 32, "table-bytes": 40, "data-pages": 80,
              "meta-bytes": 88}
    for s, name in enumerate(["nodes", "sums", "diffs", "imports", "roots"]):
        fields[name + "-offset"] = 96 + 16 * s
        fields[name + "-count"] = 104 + 16 * s
    for name, at in fields.items():
        for i, value in enumerate(big):
            yield f"trailer-{name}-{i}", leaf_image(
                *runs, changes=[change(TRAILER, at, value)], **good)
    yield "trailer-nodes-wrap", layer(
        [entry(0, 1, 2**32 - 9)], [root(1 << 28, entry(0, 1, 0))],
        changes=[change(TRAILER, 104, 2**61)])
    yield "trailer-zero", leaf_image(
        *runs, changes=[change(TRAILER, 300, 1)], **good)
    yield "trailer-version", leaf_image(
        *runs, changes=[change(TRAILER, 8, 2, 2)], **good)
    for name, at, value in [
            ("version", 8, 2), ("version-0", 8, 0), ("flags", 12, 4),
            ("encoded", 12, 1), ("bytes", 32, 100), ("below", 40, 3),
            ("below-layer", 40, 1), ("below-head", 60, 1), ("zero", 100, 1)]:
        yield f"header-{name}", leaf_image(
            *runs, changes=[change(HEADER, at, value, 2)], **good)
    yield "file-data", leaf_image(
        *runs, changes=[change(FILE, 3 * 4096 + 9, 1, 0)], **good)
    yield "file-meta", leaf_image(
        *runs, changes=[change(FILE, 5 * 4096 + 9, 1, 0)], **good)
    for name, at, value in [("offset", 0, 4097), ("stored", 8, 2**31),
                            ("stored-0", 8, 0), ("zero", 12, 1)]:
        yield f"chunk-{name}", leaf_image(
            *runs, flags=1, chunks=bytes([PACKED]),
            changes=[change(TABLE, at, value, 2)], **good)
    for flags in 1, 3:
        yield f"chunk-bent-{flags}", leaf_image(
            *runs, flags=flags, **good,
            chunks=struct.pack("<BH16s", BENT, 9, b"\1\0\0\x40"))
        yield f"chunk-long-{flags}", leaf_image(
            *runs, flags=flags, **good,
            chunks=struct.pack("<BH", GIVEN | 0x80, 999))
        yield f"chunk-given-{flags}", leaf_image(
            *runs, flags=flags, **good,
            chunks=struct.pack("<BH", GIVEN, 10) + frame(123))
        yield f"chunk-old-{flags}", leaf_image(
            *runs, flags=flags, **good,
            chunks=struct.pack("<BH", GIVEN, 23) + OLD_FRAME + frame(200))


def frame(count, value=b"x"):
    """One zstd frame with one block of equal bytes (RFC 8878)."""
    return struct.pack("<IBB", 0xFD2FB528, 0x20, count) + \
        (count << 3 | 3).to_bytes(3, "little") + value


# The same of one byte, as zstd 0.7 had it.
OLD_FRAME = b"\x27\xb5\x2f\xfd\x20\1\x40\0\1x\xc0\0\0"
SKIPPED = b"\x50\x2a\x4d\x18\1\0\0\0\0"


def real_file(nroots=1):
    """A whole layer without data, as it is in a file."""
    def h(data, size):
        return hashlib.blake2b(data, digest_size=size).digest()
    head = struct.pack("<8sII16s", b"ttlayer\n", 1, 0, b"u" * 16)
    head = head.ljust(496, b"\0")
    check = h(head, 16)
    meta = root(1 << 20, NOTHING) * nroots
    table = h(meta, 16)
    sections = [(0, 0)] * 4 + [(0, nroots)]
    end = struct.pack("<8sII16sQQ32sQQ", b"tttrail\n", 1, 0, check,
                      4096 + len(meta), 16, h(table, 32), 0, len(meta))
    end += b"".join(struct.pack("<QQ", *s) for s in sections)
    end = end.ljust(480, b"\0")
    return (head + check).ljust(4096, b"\0") + meta + table + end + h(end, 32)


def raw_layers():
    good = real_file()
    yield "raw-good", b"\0" + good
    yield "raw-cut", b"\0" + good[:-1]
    yield "raw-header", b"\0" + good[:512]
    yield "raw-no-trailer", b"\0" + good[:512] + bytes(4100)
    yield "raw-other", b"\0QFI\xfb" + bytes(600)
    yield "raw-empty", b"\0"


# 600 bytes of text by zstd 1.5: literals and sequences.
BLOCKS = bytes.fromhex(
    "28b52ffd605801a50500d2ca1912c0251de16d6daa7fa4dc52a694fa5183c302c210f843"
    "ca546fe46bf19fabcc65c364994c66dd67765b9f6833e1d16b990d4175fa79eedfd6b126"
    "51520cdaa4638bbe3b3a4ed647b3d7b85799a81f52a6e82165ae43ca9c43ca7000016108"
    "c49032620001610850a831587bcefe069093261d1050c60f5886064c62c8e61008035255"
    "ba808ff74e6aab7fc076c9c6381814b170468524135250850152ea203e54f5106ca9ab3f"
    "0598e20194fffe8f5015")


def patches():
    yield "pages-equal", bytes([0, 1, 0, 0, 9, 7])
    yield "pages-word", bytes([0, 1, 0, 0, 200, 1, 8, 0, 4, 2])
    yield "pages-apart", bytes([0, 0]) + b"".join(
        bytes([i * 13 & 255, i * 13 >> 8, 1, 9]) for i in range(90))
    yield "pages-ends", bytes([0, 0, 0, 0, 1, 9, 255, 15, 1, 9])
    yield "pages-too-much", bytes([0, 0]) + b"".join(
        bytes([0, i, 255, 9]) for i in range(8))
    yield "patch-good", b"\1" + piece(0, b"a") + piece(4095, b"b")
    yield "patch-empty", b"\1"
    yield "patch-head-only", b"\1" + struct.pack("<HH", 0, 0)
    yield "patch-cut-head", b"\1" + piece(0, b"a") + b"\0\0\1"
    yield "patch-cut", b"\1" + piece(5, b"abcdef")[:-1]
    yield "patch-past-page", b"\1" + piece(4095, b"ab")
    yield "patch-far", b"\1" + piece(65535, b"ab")
    yield "patch-513", b"\1" + piece(0, b"x" * 509)

    def chunk(plain, stored):
        return b"\2" + struct.pack("<I", plain - 1) + stored
    yield "chunk-frame", chunk(200, frame(200))
    yield "chunk-short", chunk(201, frame(200))
    yield "chunk-long", chunk(199, frame(200))
    yield "chunk-two", chunk(400, frame(200) * 2)
    yield "chunk-skip", chunk(200, SKIPPED + frame(200))
    yield "chunk-old", chunk(201, OLD_FRAME + frame(200))
    yield "chunk-cut", chunk(200, frame(200)[:-1])
    yield "chunk-raw", chunk(9, b"123456789")
    yield "chunk-raw-long", chunk(8, b"123456789")
    yield "chunk-blocks", chunk(600, BLOCKS)
    for flags in range(3):
        yield f"encode-{flags}", bytes([3, flags, 16, 77]) + b"some words" * 9
        yield f"encode-last-{flags}", bytes([3, flags, 0, 1]) + bytes(range(99))


REGISTER, MEMORY, DESCRIPTOR, OFFER, KICK, SET_UP, PAUSE, HOST = range(8)
NEXT, WRITE, INDIRECT = 1, 2, 4
DATA = 0xA000


def step(kind, a=0, b=0, c=0, queue=0):
    return struct.pack("<BBHI", kind | queue << 4, a, b, c)


def set_up(order=6, event_idx=False, features=0):
    """Rings of 2**order entries; INDIRECT_DESC is always taken."""
    return step(SET_UP, order, 1 | event_idx << 1, features)


def descriptor(index, size, flags, at=DATA, following=0, queue=0):
    return step(DESCRIPTOR, index, flags << 12 | size, following << 24 | at,
                queue)


def offer(head=0, more=0, queue=0):
    return step(OFFER, more, head, queue=queue) + step(KICK, queue=queue)


def write(offset, value):
    return step(REGISTER, 0, offset, value)


def ring_seeds(queue=0):
    """For any device: one buffer that it may write to, and broken rings."""
    def case(*steps, order=6):
        return set_up(order) + b"".join(steps)

    def desc(*args, **more):
        return descriptor(*args, queue=queue, **more)

    table = b"".join(step(MEMORY, 0, DATA + i, value) for i, value in
                     ((0, DATA + 256), (8, 16), (12, WRITE)))
    ask = offer(queue=queue)
    yield "fill", case(desc(0, 64, WRITE), ask, step(HOST), ask, step(PAUSE))
    yield "kick-late", case(desc(0, 64, WRITE), step(OFFER, queue=queue),
                            step(PAUSE), step(HOST))
    yield "head", case(offer(99, queue=queue), order=3)
    yield "jump", case(offer(0, 40, queue=queue), order=3)
    yield "indirect", case(table, desc(0, 16, INDIRECT), ask)
    yield "indirect-odd", case(table, desc(0, 15, INDIRECT), ask)
    yield "loop", case(desc(0, 8, WRITE | NEXT, following=1),
                       desc(1, 8, WRITE | NEXT), ask)
    yield "outside", case(desc(0, 0xFFF, WRITE, at=0xFFFF8), ask)
    yield "readable", case(desc(0, 8, 0), ask)
    yield "empty", case(desc(0, 0, WRITE), ask)
    yield "registers", b"".join(write(*r) for r in (
        (0x70, 1), (0x70, 3), (0x24, 1), (0x20, 1), (0x70, 11), (0x30, 0),
        (0x38, 8), (0x80, 0x1000), (0x90, 0x2000), (0xA0, 0x3000), (0x44, 1),
        (0x70, 15), (0x38, 64), (0x80, 0), (0x50, 0), (0x64, 3), (0x70, 0)))


def balloon_seeds():
    """Page numbers to inflate and deflate, statistics, free ranges."""
    features = 1 << 1 | 1 << 2 | 1 << 5
    numbers = b"".join(step(MEMORY, 0, DATA + 4 * i, v)
                       for i, v in enumerate((12, 13, 14, 11, 10, 0xC0000)))

    def case(*steps):
        return set_up(6, 1, features) + numbers + b"".join(steps)

    def give(queue, size=24, flags=0, at=DATA):
        return descriptor(0, size, flags, at, queue=queue) + offer(queue=queue)

    yield "inflate", case(give(0), give(0), give(1))
    yield "statistics", case(give(2), step(HOST, 2), give(2, 20), step(PAUSE))
    ranges = b"".join(step(MEMORY, 0, 0x4000 + i, v) for i, v in (
        (0, 0xC000), (8, 0x2000), (12, WRITE | NEXT | 1 << 16),
        (16, 0xA000), (24, 0x1001), (28, WRITE)))
    yield "report", case(ranges, offer(queue=3))
    yield "target", case(step(HOST, 1, 0, 7), write(0x104, 7),
                         write(0x100, 9), step(PAUSE))
    yield "no-statistics", (set_up(6, 0, 1 << 5) +
                            give(2, 0xFFF, WRITE, 0xA000))


def console_port_seeds():
    """A port is made, opened, used by clients; and messages out of order."""
    multiport = 1 << 1
    messages = {"ready": (0, 1), "made": (3, 1), "open": (6, 1),
                "close": (6, 0), "junk": (99, 7)}
    connect, leave, write_in, half, read_out = (step(HOST, k, 100, 65)
                                                for k in range(5))

    def say(name):
        event, value = messages[name]
        return (step(MEMORY, 0, DATA, 0) +
                step(MEMORY, 0, DATA + 4, value << 16 | event) +
                descriptor(0, 8, 0, queue=3) + offer(queue=3))

    def room(count=4):
        return b"".join(descriptor(i, 64, WRITE, DATA + 0x100 + 64 * i, 0, 2) +
                        offer(i, queue=2) for i in range(count))

    def send(size=100):
        return descriptor(0, size, 0, queue=1) + offer(queue=1)

    take = descriptor(0, 64, WRITE, DATA + 0x800) + offer()
    opened = set_up(6, 1, multiport) + room() + say("ready") + say("made") + \
        say("open")
    yield "both-ways", (opened + connect + send() + read_out + write_in +
                        take + step(PAUSE) + take + leave)
    yield "input-waits", opened + connect + write_in + leave + take + take
    yield "half-closed", opened + connect + write_in + half + take + send()
    yield "nobody", opened + send() + send()
    yield "order", (set_up(6, 0, multiport) + room() + say("open") +
                    say("made") + say("junk") + say("ready") + say("ready"))
    yield "reset", opened + connect + write(0x70, 0) + opened + send()
    yield "slow", opened + connect + send(0xFFF) * 80 + read_out * 3 + leave
    yield "no-room", (set_up(6, 0, multiport) + say("ready") + connect +
                      descriptor(0, 7, WRITE, queue=2) + offer(queue=2) +
                      room())


def held(steps):
    """The same, but what is on its way stays so after each step."""
    return b"".join(bytes([steps[i] | 0x80]) + steps[i + 1:i + 8]
                    for i in range(0, len(steps), 8))


def blk_seeds():
    """Each request, good and bad, ending at once, later, or never."""
    FLUSH, WCE, DISCARD, ZEROES = 1 << 9, 1 << 11, 1 << 13, 1 << 14
    LATER, END, END_ALL, TASKS, KICKED, LIMITS = range(6)
    HEADER, STATUS, PAYLOAD = 0x9000, 0x9100, 0xB000

    def words(at, *values):
        return b"".join(step(MEMORY, 0, at + 4 * i, v & 0xFFFFFFFF)
                        for i, v in enumerate(values))

    def host(kind, a=0, c=0):
        return step(HOST, kind, a, c)

    def request(kind, sector=0, size=512, into=None, at=PAYLOAD, head=0):
        into = kind in (0, 8) if into is None else into
        steps = words(HEADER, kind, 0, sector, sector >> 32)
        steps += descriptor(head, 16, NEXT, at=HEADER, following=head + 1)
        steps += descriptor(head + 1, size, NEXT | (WRITE if into else 0),
                            at=at, following=head + 2)
        steps += descriptor(head + 2, 1, WRITE, at=STATUS)
        return steps + offer(head)

    def case(*steps, features=FLUSH, event_idx=True):
        return set_up(5, event_idx, features) + b"".join(steps)

    for name, kind in (("in", 0), ("out", 1), ("scsi", 2), ("flush", 4),
                       ("id", 8), ("lifetime", 10), ("erase", 14)):
        yield name, case(request(kind))
    yield "through", case(request(1), features=0)
    yield "wce", case(step(REGISTER, 0, 0x120, 0), request(1),
                      features=FLUSH | WCE)
    yield "odd", case(request(0, size=511), request(1, size=513))
    yield "last", case(request(0, sector=127), request(0, sector=128),
                       request(1, sector=127, size=1024))
    yield "wrap", case(request(0, sector=1 << 55),
                       request(1, sector=(1 << 64) - 1))
    yield "id-short", case(request(8, size=19), request(8, size=40))
    for name, flags in (("discard", 0), ("unmap", 1), ("flags", 6)):
        for kind in (11, 13):
            yield f"{name}-{kind}", case(
                words(PAYLOAD, 3, 0, 5, flags), request(kind, size=16),
                request(kind, size=32), request(kind, size=15),
                words(PAYLOAD, -1, -1, -1, flags), request(kind, size=16),
                features=FLUSH | DISCARD | ZEROES)
    yield "no-header", case(descriptor(0, 15, NEXT, at=HEADER, following=1),
                            descriptor(1, 1, WRITE, at=STATUS), offer())
    yield "no-status", case(descriptor(0, 16, 0, at=HEADER), offer())
    yield "cut", case(words(HEADER, 0, 0, 1, 0),
                      descriptor(0, 3, NEXT, at=HEADER, following=1),
                      descriptor(1, 13, NEXT, at=HEADER + 3, following=2),
                      descriptor(2, 0, NEXT | WRITE, following=3),
                      descriptor(3, 513, WRITE, at=PAYLOAD), offer())
    later = host(LATER, 1)
    three = b"".join(request(0, sector=i, at=PAYLOAD + 512 * i, head=3 * i)
                     for i in range(3))
    yield "later", held(case(later, three, host(END, 1), host(END, 0, 11),
                             host(END_ALL))) + step(PAUSE)
    yield "reset", held(case(later, three, write(0x70, 0), host(END_ALL)))
    yield "pause", held(case(later, three)) + step(PAUSE) + host(LATER)
    yield "again", held(case(later, request(0), *[offer()] * 40,
                             host(END_ALL)))
    yield "through-later", held(case(later, request(1), host(END, 0),
                                     host(END, 0), features=0))
    yield "fails", case(host(LATER, 2), request(0), request(1), request(4))
    yield "polls", case(request(0), request(0, head=3)[:-8], host(TASKS),
                        host(TASKS), host(KICKED))
    yield "limits", case(*[request(0, size=2048)] * 4, host(LIMITS),
                         host(LIMITS))
def net_seeds(stream=False):
    """virtio-net: what any device has, and frames each way."""
    rx, tx = 0, 1
    yield from ring_seeds(rx)
    for name, data in ring_seeds(tx):
        yield "tx-" + name, data
    merge = set_up(6, True, 1 << 15 | 0xFFFF)
    plain = set_up(6, False, 0)

    def comes(size, count=1):
        if stream:
            length = int.from_bytes(struct.pack(">I", size), "little")
            return step(HOST, 0, size + 4, length)
        return step(HOST, 2 | count << 2, 0, size)

    buffers = b"".join(descriptor(i, 256, WRITE, at=DATA + 256 * i, queue=rx)
                       + step(OFFER, 0, i, queue=rx) for i in range(16))
    sends = descriptor(0, 128, 0, queue=tx) + offer(queue=tx)
    pieces = b"".join(descriptor(i, 3, NEXT if i < 99 else 0, queue=tx,
                                 following=i + 1) for i in range(100))
    kick = step(KICK, queue=rx)
    yield "frames", merge + buffers + kick + comes(60, 3) + sends
    yield "merged", merge + buffers + kick + comes(1500) + comes(1500)
    yield "held", merge + buffers + kick + comes(9000) + step(PAUSE) + buffers
    yield "too-long", plain + buffers + kick + comes(9000)
    yield "runt", plain + buffers + kick + comes(9)
    yield "gone", merge + buffers + kick + comes(0) + sends
    yield "pieces", plain + pieces + offer(queue=tx)
    yield "stall", plain + step(HOST, 0, 2) + sends + sends + step(HOST)
    for i, word in enumerate((0x1, 0x100, 0x101, 0x401, 0x8101)):
        header = step(MEMORY, 0, DATA, word) + step(MEMORY, 0, DATA + 4, 50)
        yield f"header-{i}", merge + header + sends + step(HOST, 1, 0, word) \
            + buffers + kick + comes(100)
    if stream:
        yield "lie", merge + buffers + kick + step(HOST, 0, 9, 0xFFFFFFFF)
        yield "hang-up", merge + buffers + sends + step(HOST, 3, 0xDEAD) + sends


def put(at, data):
    return b"".join(step(MEMORY, 0, at + i, struct.unpack_from("<I", data, i)[0])
                    for i in range(0, len(data), 4))


def vsock_seeds():
    """A guest of CID 3 that connects and is connected to, as the harness's
    host side (vsock.c: ring_host) acts."""
    rx, tx, event = range(3)
    request, response, rst, shutdown, rw, update, ask = range(1, 8)
    incoming, connected, message, sends, reads, half, close = range(7)

    def packet(op, host=2, guest=1, length=0, cid=3, alloc=4096, flags=0):
        return struct.pack("<QQIIIHHIII", cid, 2, guest, host, length, 1, op,
                           flags, alloc, 0)

    def tx_packet(op, data=0, **more):
        return (put(DATA, packet(op, length=data, **more)) +
                descriptor(0, 44 + data, 0, queue=tx) + offer(queue=tx))

    def rx_buffers(n=4, size=512):
        return b"".join(descriptor(i, size, WRITE, at=DATA + 0x1000 + i * 512,
                                   queue=rx) + offer(i, queue=rx)
                        for i in range(n))

    def host(kind, a=0, b=0):
        return step(HOST, kind, a, b)

    begin = set_up(4) + rx_buffers()
    to_host = begin + tx_packet(request) + host(connected, 1, 2)
    to_guest = begin + host(incoming, 1) + tx_packet(response, host=1)
    yield "refused", begin + tx_packet(request) + host(7, 12)
    yield "echo", (to_host + tx_packet(rw, 100) + host(reads) +
                   host(sends, 200) + tx_packet(update))
    yield "incoming", to_guest + host(sends, 50) + tx_packet(rw, 9, host=1)
    yield "half", (to_host + tx_packet(shutdown, flags=2) + host(sends, 9) +
                   host(half, 1) + tx_packet(shutdown, flags=3))
    yield "close", to_host + host(sends, 300) + host(close) + rx_buffers()
    yield "close-guest", to_host + tx_packet(rw, 64) + tx_packet(shutdown,
                                                                 flags=3)
    yield "stall", to_host + tx_packet(rw, 2000) * 70 + host(reads)
    yield "credit", begin + tx_packet(request, alloc=10) + host(
        connected, 1, 2) + host(sends, 500) + tx_packet(update, alloc=300)
    yield "stray", begin + tx_packet(rw, 8) + tx_packet(99) + tx_packet(
        request, cid=4)
    yield "short", begin + descriptor(0, 43, 0, queue=tx) + offer(queue=tx)
    yield "beyond", begin + put(DATA, packet(rw, length=60000)) + descriptor(
        0, 60, 0, queue=tx) + offer(queue=tx)
    yield "pause", to_host + step(PAUSE) + host(sends, 20) + step(PAUSE)
    yield "event", begin + descriptor(0, 8, WRITE, queue=event) + host(
        2, 4) + offer(queue=event)
    for name, data in ring_seeds(tx):
        yield "ring-" + name, data


def connect_seeds():
    for name, line in (("right", "CONNECT 52"), ("last", "CONNECT 4294967294"),
                       ("any", "CONNECT 4294967295"), ("zeros",
                                                       "CONNECT 0000000052"),
                       ("sign", "CONNECT -1"), ("word", "CONNECT x")):
        yield name, line.encode()


def ports_seeds():
    """Sleep, events, a date set and read, ids, a clock that jumps."""
    read, write_port, host, reset, clock = range(5)
    debugexit, i8042, power, pvpanic, rtc, vmgenid = range(6)

    def case(*steps):
        return b"".join(struct.pack("<BBBBI", *s) for s in steps)

    def index(register):
        return (write_port, rtc, 0, 0, register)

    date = [s for r in (0, 2, 4, 6, 7, 8, 9, 0x32, 10, 11, 12, 13)
            for s in (index(r), (read, rtc, 1, 0, 0))]
    setting = [index(11), (write_port, rtc, 1, 0, 0x86)]
    for r, v in ((9, 99), (8, 2), (7, 29), (4, 23), (2, 59), (0, 58)):
        setting += [index(r), (write_port, rtc, 1, 0, v)]
    setting += [index(11), (write_port, rtc, 1, 0, 0x06)]
    yield "exit", case((write_port, debugexit, 0, 0, 3),
                       (write_port, debugexit, 0, 2, 0x1234))
    yield "reboot", case((read, i8042, 0, 0, 0), (write_port, i8042, 0, 0, 254))
    yield "power", case(*[(kind, power, at, size, 0xFFFF)
                          for kind in (read, write_port) for at in range(16)
                          for size in range(3)])
    yield "button", case((host, 0, 0, 0, 0), (read, power, 0, 1, 0),
                         (host, 1, 0, 0, 0), (reset, power, 0, 0, 0))
    yield "panic", case((read, pvpanic, 0, 0, 0), (write_port, pvpanic, 0, 0, 1))
    yield "date", case((clock, 0, 0, 0, 424242424), *date)
    yield "set", case(*setting, *date, (clock, 0, 0, 0, 1 << 31), *date)
    yield "jump", case(*[s for t in (0, (1 << 32) - 1, 5)
                         for s in [(clock, 0, 0, 0, t)] + date])
    yield "generation", case((host, 2, 7, 9, 0), (reset, vmgenid, 0, 0, 0))


def committed(name):
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "..", "data", name), "rb") as f:
        return f.read()


def ref_seeds():
    """A ref with a configuration, record 12: whole, keyed, spoilt."""
    ref = committed("ref-v1-config")
    at = ref.index(struct.pack("<HH", 12, 0))
    yield "ref-config", b"\1" + ref
    yield "ref-config-keyed", b"\3" + ref
    yield "ref-config-empty", b"\3" + ref[:at + 4] + bytes(4) + ref[-48:]
    yield "ref-config-critical", b"\3" + ref[:at + 2] + b"\1" + ref[at + 3:]
    large = struct.pack("<HHI", 12, 0, 65536) + b" " * 65536
    yield "ref-config-most", b"\3" + ref[:at] + large + ref[-48:]
    large = struct.pack("<HHI", 12, 0, 65537) + b" " * 65544
    yield "ref-config-more", b"\3" + ref[:at] + large + ref[-48:]
    twice = ref[at:-48]
    yield "ref-config-twice", b"\3" + ref[:-48] + twice + ref[-48:]


def store_seeds():
    """Names of files in layers/, manifests/ and refs/."""
    ref = committed("ref-v1")
    id_text = hashlib.sha256(b"").hexdigest().encode()
    for place, first in (("layers", b"\0"), ("manifests", b"\1"),
                         ("refs", b"\2")):
        for name, text in (
                ("id", id_text), ("id-upper", id_text.upper()),
                ("id-short", id_text[:63]), ("id-long", id_text + b"0"),
                ("temp", b".tintype-0123456789abcdef"),
                ("hidden", b".lock"), ("dashes", b"--"),
                ("control", b"\x1b[2J"), ("not-utf8", b"caf\xe9"),
                ("most", b"x" * 255)):
            yield f"{place}-{name}", first + text + b"\nwhat it holds"
    yield "refs-whole", b"\2web@pre-update\n" + ref
    yield "refs-another", b"\2web@other\n" + ref
    yield "refs-cut", b"\2web@pre-update\n" + ref[:100]
    yield "refs-empty", b"\2web@pre-update\n"
    yield "refs-two-ats", b"\2web@a@b\n" + ref
    yield "refs-no-vm", b"\2@a\n" + ref
    yield "refs-no-name", b"\2web@\n" + ref
    yield "refs-most", b"\2" + b"v" * 63 + b"@" + b"n" * 63 + b"\n" + ref
    yield "refs-more", b"\2" + b"v" * 64 + b"@" + b"n" * 63 + b"\n" + ref


def state_sections(data):
    """Each section of a state file: name, instance, where it is, its fields."""
    at = 24
    while at < len(data):
        size, _, name, which = struct.unpack_from("<IHBB", data, at)
        text = data[at + 8:at + 8 + name + which].decode()
        yield (text[:name], text[name:], at, size,
               data[at + 8 + name + which:at + size])
        at += size


def state_seeds():
    """A real machine's file, whole and up to its vCPU's end; the fields of each
    of its sections (state.c numbers the tables); versions and lengths."""
    tables = ["machine", "clock", "pic", "ioapic", "vcpu-mp", "vcpu-regs",
              "vcpu-sregs", "vcpu-xsave", "vcpu-xcrs", "vcpu-debug",
              "vcpu-lapic", "vcpu-tsc", "vcpu-cpuid", "vcpu-msrs",
              "vcpu-events"]
    data, whole = committed("state-v1"), b"\xff"
    n = end = 0
    for name, which, at, size, fields in state_sections(data):
        if name not in tables:
            break
        n, end = n + 1, at + size
        if which in ("machine", "clock", "pic0", "ioapic", "vcpu0"):
            yield f"table-{name}", bytes([tables.index(name)]) + fields
    vcpu = data[:12] + struct.pack("<IQ", n, end) + data[24:end]
    yield "whole", whole + data
    yield "vcpu", whole + vcpu
    yield "newer-file", whole + vcpu[:8] + b"\2" + vcpu[9:]
    yield "newer-section", whole + vcpu[:28] + b"\2" + vcpu[29:]
    yield "section-0", whole + vcpu[:28] + b"\0" + vcpu[29:]
    yield "sections-many", whole + vcpu[:12] + b"\xff" * 4 + vcpu[16:]
    yield "section-long", whole + vcpu[:24] + b"\xff" * 4 + vcpu[28:]
    yield "section-none", whole + vcpu[:24] + bytes(4) + vcpu[28:]
    yield "cut", whole + vcpu[:16] + struct.pack("<Q", 99) + vcpu[24:99]
    yield "empty", whole + vcpu[:12] + struct.pack("<IQ", 0, 24)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    top = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "corpus")
    seeds = {
        "balloon": [*ring_seeds(), *balloon_seeds()],
        "blk": [*ring_seeds(), *blk_seeds()],
        "console_port": [*ring_seeds(), *console_port_seeds()],
        "connect": list(connect_seeds()),
        "layer": [*layers(), *raw_layers()],
        "manifest": list(ref_seeds()),
        "net": list(net_seeds()),
        "net_stream": list(net_seeds(True)),
        "patch": list(patches()),
        "ports": list(ports_seeds()),
        "rng": list(ring_seeds()),
        "state": list(state_seeds()),
        "store": list(store_seeds()),
        "vsock": list(vsock_seeds()),
    }
    for target, made in seeds.items():
        os.makedirs(os.path.join(top, target), exist_ok=True)
        for name, data in made:
            with open(os.path.join(top, target, name), "wb") as f:
                f.write(data)
        size = sum(len(data) for _, data in made)
        print(f"{target}: {len(made)} seeds, {size} bytes")


if __name__ == "__main__":
    main()
