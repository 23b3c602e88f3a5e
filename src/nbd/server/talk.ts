/**
 * What the options of a handshake share: what the server is to them, what is agreed on so far, how to answer.
 */
import type { ExtensionPeer } from './export.js';
import type { ServedExport } from './served-export.js';
import type { Agreement, SelectedContext } from './session.js';
import type { TlsPolicy } from './wire-pair.js';

/** After an option: the next one, the end of the connection, or the transmission phase. */
export type Outcome = 'go on' | 'end' | Agreement;

/** What the server is to the handshakes of its connections. */
export interface Host {
  /** The first one also answers to the empty name. */
  readonly exports: readonly ServedExport[];
  readonly tls: TlsPolicy | null;
  /** For all of a handshake. */
  readonly handshakeLimitMs: number;
  readonly isStopping: boolean;
}

/** What single options work with: the state that is agreed on so far, and answers. */
export interface Talk {
  readonly host: Host;
  structured: boolean;
  /** Of the last SET_META_CONTEXT that went well. */
  selected: { readonly served: ServedExport; readonly contexts: readonly SelectedContext[] } | null;
  /** What this connection finds in place of what others find. */
  readonly instead: ReadonlyMap<ServedExport, ServedExport>;
  /** The connection, as an extension of the export sees it. */
  peerOf(shown: ServedExport): ExtensionPeer;
  reply(option: number, type: number, data?: Uint8Array): void;
  /** Refuses the option, with a sentence for people. */
  refuse(option: number, type: number, why: string): void;
}

/** As this connection finds it. */
export function findExport({ host, instead }: Talk, name: string): ServedExport | null {
  const shown = findShown(host, name);
  return shown === null ? null : (instead.get(shown) ?? shown);
}

/** As all others find it. */
export function findShown({ exports }: Host, name: string): ServedExport | null {
  const named = exports.find(({ listed }) => listed.name === name);
  return named ?? (name === '' ? (exports[0] ?? null) : null);
}

/** Contexts hold for the export that they were selected for, and no other. */
export function agreement(talk: Talk, served: ServedExport, keepsSizes: boolean): Agreement {
  const contexts = talk.selected?.served === served ? talk.selected.contexts : [];
  return { served, structured: talk.structured, contexts, keepsSizes };
}
