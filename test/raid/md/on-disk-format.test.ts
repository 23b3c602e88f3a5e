/**
 * docs/on-disk-format.md and the description that the codecs read from are the same: every structure, field,
 * offset, size, type and reason, both ways.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import * as undo from '../../../src/check/undo/fields-undo.js';
import * as traces from '../../../src/crash/trace-file/fields.js';
import * as flags from '../../../src/extents/flags/fields.js';
import * as extents from '../../../src/extents/format/fields.js';
import * as metadata from '../../../src/metadata/engine/fields.js';
import { METADATA_STRUCTURES } from '../../../src/metadata/server/records.js';
import * as logs from '../../../src/raid/md/fields-logs.js';
import * as superblocks from '../../../src/raid/md/fields-superblock.js';
import * as superblocksV090 from '../../../src/raid/md/fields-superblock-v090.js';
import * as records from '../../../src/raid/record/fields.js';
import * as kept from '../../../src/replication/kept/fields.js';
import * as transactionLog from '../../../src/replication/log/fields.js';
import * as blockMaps from '../../../src/replication/map/fields.js';
import * as secondary from '../../../src/replication/secondary/fields.js';
import * as backups from '../../../src/snapshot/set/fields.js';
import { fieldBytes, Structure, type StructureDescription } from '../../../src/structure.js';
import { drawStructure, parseFormatPage } from '../../support/format-page.js';

const page = parseFormatPage(
  readFileSync(new URL('../../../docs/on-disk-format.md', import.meta.url), 'utf8'),
);
const structures: StructureDescription[] = [
  ...[
    superblocks,
    superblocksV090,
    logs,
    records,
    undo,
    metadata,
    extents,
    flags,
    transactionLog,
    blockMaps,
    kept,
    secondary,
    backups,
    traces,
  ].flatMap((module): unknown[] => Object.values(module)),
  ...METADATA_STRUCTURES,
].filter((each): each is StructureDescription => each instanceof Structure);

describe('the page on the format', () => {
  it('has every structure that the code has', () => {
    const documented = [...page.keys()];
    for (const structure of structures) expect(documented).toContain(structure.name);
    expect(structures.length).toBeGreaterThanOrEqual(50);
  });

  for (const structure of structures) {
    describe(structure.name, () => {
      const documented = page.get(structure.name);

      it('has the fields of the page, and the page has its fields', () => {
        const described = structure.fields.map((field) => ({
          offset: field.offset,
          size: fieldBytes(field),
          type: field.type,
          name: field.name,
          instead: field.instead ?? null,
          why: field.why,
        }));
        expect(documented?.fields).toEqual(described);
        expect(documented?.sizeBytes).toBe(structure.sizeBytes);
      });

      it('is drawn as it is', () => {
        expect(documented?.drawing).toBe(drawStructure(structure));
      });

      it('is covered by its fields, without gap or overlap', () => {
        let at = 0;
        for (const field of structure.fields.filter((each) => each.instead === undefined)) {
          expect(field.offset, field.name).toBe(at);
          at += fieldBytes(field);
        }
        expect(at).toBe(structure.sizeBytes);
      });

      it('has fields that lie within what they share bytes with', () => {
        for (const field of structure.fields) {
          if (field.instead === undefined) continue;
          const shared = structure.fields.find((each) => each.name === field.instead)!;
          expect(field.offset).toBeGreaterThanOrEqual(shared.offset);
          expect(field.offset + fieldBytes(field)).toBeLessThanOrEqual(shared.offset + fieldBytes(shared));
        }
      });
    });
  }
});
