/**
 * Requests of NBD_OPT_HOLDFAST_SECONDARY as the server of a place answers them (messages.ts has their shape). What
 * is refused is told with code and details, so that the primary says it as if the image was its own.
 */
import { z } from 'zod';
import { UserError } from '../../../errors.js';
import type { Export, ExportExtension, ExtensionAnswer, ExtensionPeer } from '../../../nbd/server/export.js';
import { errorOf } from '../../control/messages.js';
import type { SecondaryHost } from './host.js';
import { parsed, placeRequestSchema } from './messages.js';

type Request = z.infer<typeof placeRequestSchema>;

/** `shown`: the export as others see it. */
export function placeExtension(host: SecondaryHost, shown: Pick<Export, 'name'>): ExportExtension {
  return async (payload, peer) => {
    const request = placeRequestSchema.safeParse(parsed(payload));
    if (!request.success) return { kind: 'malformed', why: z.prettifyError(request.error) };
    try {
      return done(await perform(host, shown, request.data, peer));
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      return { kind: 'refused', why: error.message, payload: encoded({ error: errorOf(error) }) };
    }
  };
}

async function perform(
  host: SecondaryHost,
  shown: Pick<Export, 'name'>,
  request: Request,
  peer: ExtensionPeer,
): Promise<object> {
  switch (request.request) {
    case 'look':
      return host.look();
    case 'make':
      await host.make(request);
      return {};
    case 'join': {
      const { session, device, epochBytes } = await host.join(request, peer);
      // Epochs end where it flushes on this one connection: a flush on another would not know what is on its way here.
      peer.serveAs({ ...shown, device, canMultiConn: false });
      return { session, epochBytes };
    }
    case 'begin-resync':
      await host.beginResync(request.session);
      return {};
    case 'end-resync':
      await host.endResync(request.session, request.generation, request.atMs);
      return {};
    case 'changes':
      return host.changes(request);
    case 'former':
      return host.former(promotedOf(request), request);
    case 'rejoin':
      await host.rejoin(promotedOf(request), request, request.seen);
      return {};
    case 'demote':
      await host.demote(request, request.seen);
      return {};
  }
}

function promotedOf({ volumeUuid, sizeBytes, formerUuid }: Extract<Request, { formerUuid: string }>) {
  return { volumeUuid, sizeBytes, former: { uuid: formerUuid } };
}

function done(answer: object): ExtensionAnswer {
  return { kind: 'done', payload: encoded(answer) };
}

function encoded(value: object): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}
