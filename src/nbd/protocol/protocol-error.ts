/**
 * The peer broke the protocol so that its stream can not be followed any more (a wrong magic, a length that
 * contradicts itself): there is nothing to answer, the connection ends.
 */
import { UserError } from '../../errors.js';

export class ProtocolError extends UserError {
  /** `message` says what came and what was expected. */
  constructor(message: string, details: Record<string, unknown> = {}) {
    super('IO_ERROR', `NBD: ${message}`, { details });
    this.name = 'ProtocolError';
  }
}
