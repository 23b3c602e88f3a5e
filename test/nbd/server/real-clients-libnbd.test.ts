/**
 * libnbd's interface of Python on a volume that is served: what none of the tools sends. Requests of 50 MB and of 64 MiB,
 * bad ones with libnbd's own checks off, hundreds in flight, a client that goes in the middle. Left out, and said so,
 * where Debian's python3-libnbd is not installed.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { runHoldfast } from '../../support/run-holdfast.js';
import { serve } from '../../support/served.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { DEBIAN_PYTHON, pythonHasLibnbd } from '../client/servers.js';

const hasLibnbd = pythonHasLibnbd();

/** Of each request what it came to: an error's name, or None. */
const PROGRAM = `
import os, sys, json, nbd
M = 1 << 20
uri = sys.argv[1]
said = {}

def errno(call):
    try:
        call()
    except nbd.Error as error:
        return error.errno

def connected(strict=None, structured=True, opt=False):
    h = nbd.NBD()
    h.add_meta_context('base:allocation')
    h.set_request_structured_replies(structured)
    if strict is not None:
        h.set_strict_mode(strict)
    h.set_opt_mode(opt)
    h.connect_uri(uri)
    return h

h = connected()
size = h.get_size()

same = []
for count in (512, 32768, M + 512, 50_000_000, 64 * M):
    data = (os.urandom(min(count, M)) * 65)[:count]
    h.pwrite(data, 3 * M, nbd.CMD_FLAG_FUA if count % 3 == 0 else 0)
    pieces = []
    h.pread_structured(count, 3 * M, lambda *piece: pieces.append(piece[:3]), nbd.CMD_FLAG_DF)
    same.append(h.pread(count, 3 * M) == data and connected(structured=False).pread(count, 3 * M) == data and len(pieces) == 1)
said['same'] = same

bad = connected(strict=0)
nobody = lambda *unused: 0
said['bad'] = [
    errno(lambda: bad.pread(512, size)),
    errno(lambda: bad.pread(1024, size - 512)),
    errno(lambda: bad.pread(4096, (1 << 64) - 4096)),
    errno(lambda: bad.pwrite(bytes(1024), size - 512)),
    errno(lambda: bad.pwrite(bytes(512), (1 << 64) - 256)),
    errno(lambda: bad.zero((1 << 32) - 512, 0)),
    errno(lambda: bad.trim(512, size)),
    errno(lambda: bad.cache(512, size)),
    errno(lambda: bad.block_status((1 << 32) - 512, 0, nobody)),
    errno(lambda: bad.block_status(0, 0, nobody)),
    errno(lambda: bad.pread(512, 0, 0x8000)),
    errno(lambda: bad.pwrite(bytes(512), 0, nbd.CMD_FLAG_DF)),
    errno(lambda: bad.zero(512, 0, 0x4000)),
    errno(lambda: bad.flush(0x4000)),
]
said['odd'] = [
    errno(lambda: bad.pread(64 * M + 512, 0)) is not None,
    errno(lambda: bad.pwrite(bytes(64 * M + 512), 0)) is not None,
    errno(lambda: bad.pwrite(b'abc', 1)),
    bad.pread(3, 1) == b'abc',
    errno(lambda: bad.flush(nbd.CMD_FLAG_FUA)),
    errno(lambda: bad.pread(0, 0)),
    errno(lambda: bad.zero(0, 0)),
]

told = []
h.zero(8 * M, 16 * M)
h.block_status(size - 512, 512, lambda name, offset, entries, error: told.append((name, offset, sum(entries[0::2]), len(entries))))
h.block_status(size, 0, lambda name, offset, entries, error: told.append(len(entries)), nbd.CMD_FLAG_REQ_ONE)
said['status'] = [told[0][:2], 0 < told[0][2] <= size - 512, told[1]]

o = connected(opt=True)
names = []
o.opt_list(lambda name, description: names.append(name))
o.set_export_name('nobody')
unknown = [errno(o.opt_info), errno(o.opt_go)]
o.set_export_name(names[0])
o.opt_info()
contexts = []
o.opt_list_meta_context(lambda name: contexts.append(name))
o.opt_go()
said['options'] = [names, unknown, o.get_size() == size, contexts, len(o.pread(512, 0))]
o.shutdown()
connected(opt=True).opt_abort()

ended = []
buffers = [nbd.Buffer.from_bytearray(bytearray([i]) * 65536) for i in range(1, 251)]
for i in range(500):
    h.aio_pwrite(buffers[i % 250], (i % 250) * 131072, lambda error: ended.append(error.value if hasattr(error, 'value') else error) or 1)
flying = h.aio_in_flight()
while h.aio_in_flight() > 0:
    h.poll(-1)
said['flying'] = [flying > 100, len(ended), any(ended), all(h.pread(65536, i * 131072) == bytes([i + 1]) * 65536 for i in range(250))]

gone = connected()
into = [nbd.Buffer(8 * M) for i in range(20)]
for buffer in into:
    gone.aio_pread(buffer, 0)
del gone
said['alive'] = len(connected().pread(512, 0))
h.shutdown()
print(json.dumps(said))
`;

describe.runIf(hasLibnbd)('libnbd in Python', { timeout: 120_000 }, () => {
  it.each([['4'], ['1']])('on a volume of %s: every request, good and bad', async (members) => {
    const folder = await temporaryFolder();
    const volume = join(folder, 'v');
    await runHoldfast(['create', volume, '--members', members, '--size', '80MiB']);
    const served = await serve(folder, volume);
    const { stdout } = await promisify(execFile)(DEBIAN_PYTHON, ['-c', PROGRAM, served.uri]);
    const [invalid, full] = ['EINVAL', 'ENOSPC'];
    expect(JSON.parse(stdout)).toEqual({
      same: [true, true, true, true, true],
      bad: [
        ...[invalid, invalid, invalid, full, full, full, invalid, invalid, invalid, invalid],
        ...[invalid, invalid, invalid, invalid],
      ],
      odd: [true, true, null, true, null, null, null],
      status: [['base:allocation', 512], true, 2],
      options: [['v'], ['ENOENT', 'ENOENT'], true, ['base:allocation'], 512],
      flying: [true, 500, false, true],
      alive: 512,
    });
    expect(await served.stop()).toMatchObject({ exitCode: 0, stderr: '' });
  });
});
