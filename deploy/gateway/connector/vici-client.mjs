/** A client of charon's vici socket: one command at a time, as the protocol has no number to tell answers apart. */
import { connect } from 'node:net';
import { decodeMessage, encodeMessage, textOf } from './vici-message.mjs';

const CMD_REQUEST = 0;
const CMD_RESPONSE = 1;
const EVENT_REGISTER = 3;
const EVENT_CONFIRM = 5;
const EVENT = 7;

/** Charon's own limit of one packet. */
const PACKET_BYTES_MAX = 512 * 1024;
/** A charon that does not answer for so long is not asked further: the connection is given up. */
const ANSWER_MS_MAX = 5_000;
const WAITING_MAX = 10_000;

/**
 * @typedef {import('./vici-message.mjs').ViciSection} ViciSection
 * @typedef {object} ViciClient
 * @property {(command: string, fields?: import('./vici-message.mjs').ViciFields, stream?: string) => Promise<ViciSection[]>} ask
 *   The answer, after everything that `stream` brought; throws when charon says `success = no`
 * @property {(name: string) => Promise<void>} listen  From now on `onEvent` hears of these
 * @property {Promise<Error>} closed  Resolves when the connection is gone; a new client is needed then
 * @property {() => void} close
 */

/**
 * @param {string} path  unix socket
 * @param {(name: string, message: ViciSection) => void} [onEvent]
 * @returns {Promise<ViciClient>}
 */
export async function openVici(path, onEvent = () => undefined) {
  const socket = connect(path);
  await new Promise((done, fail) => socket.once('connect', done).once('error', fail));
  /** @type {{ packet: Buffer, stream: string | null, collected: ViciSection[], done: (got: ViciSection[]) => void, fail: (error: Error) => void }[]} */
  const waiting = [];
  /** @type {NodeJS.Timeout | undefined} */
  let limit;
  let isGone = false;
  let tellClosed = (/** @type {Error} */ _error) => {};
  const closed = new Promise((done) => {
    tellClosed = done;
  });

  const giveUp = (/** @type {Error} */ error) => {
    if (isGone) return;
    isGone = true;
    clearTimeout(limit);
    socket.destroy();
    for (const { fail } of waiting.splice(0)) fail(error);
    tellClosed(error);
  };
  const sendFirst = () => {
    clearTimeout(limit);
    const first = waiting[0];
    if (first === undefined) return;
    limit = setTimeout(() => giveUp(new Error(`charon did not answer within ${ANSWER_MS_MAX} ms`)), ANSWER_MS_MAX);
    socket.write(first.packet);
  };
  /** @returns {Promise<ViciSection[]>} */
  const send = (
    /** @type {number} */ type,
    /** @type {string} */ name,
    fields = {},
    stream = /** @type {string | null} */ (null),
  ) =>
    new Promise((done, fail) => {
      if (isGone) return fail(new Error('the connection to charon is closed'));
      if (waiting.length >= WAITING_MAX) return fail(new Error(`${WAITING_MAX} commands wait for charon already`));
      waiting.push({ packet: packetOf(type, name, fields), stream, collected: [], done, fail });
      if (waiting.length === 1) sendFirst();
    });
  const take = (/** @type {Buffer} */ packet) => {
    const type = packet[0];
    const first = waiting[0];
    if (type === EVENT) {
      const nameLength = packet[1] ?? 0;
      const name = packet.subarray(2, 2 + nameLength).toString('latin1');
      const message = decodeMessage(packet.subarray(2 + nameLength));
      if (first?.stream === name) first.collected.push(message);
      else onEvent(name, message);
      return;
    }
    if (first === undefined) throw new Error('charon answered without being asked');
    waiting.shift();
    if (type === CMD_RESPONSE) first.done([...first.collected, decodeMessage(packet.subarray(1))]);
    else if (type === EVENT_CONFIRM) first.done([]);
    else first.fail(new Error('this charon does not know what it was asked'));
    sendFirst();
  };

  let held = Buffer.alloc(0);
  socket.on('data', (bytes) => {
    held = Buffer.concat([held, bytes]);
    try {
      while (held.length >= 4) {
        const length = held.readUInt32BE();
        if (length === 0 || length > PACKET_BYTES_MAX) throw new Error(`charon sent a packet of ${length} octets`);
        if (held.length < 4 + length) break;
        const packet = held.subarray(4, 4 + length);
        held = held.subarray(4 + length);
        take(packet);
      }
    } catch (error) {
      giveUp(/** @type {Error} */ (error));
    }
  });
  socket.on('error', giveUp);
  socket.on('close', () => giveUp(new Error('charon closed the connection')));

  const streams = new Set();
  return {
    ask: async (command, fields = {}, stream = undefined) => {
      if (stream !== undefined && !streams.has(stream)) {
        await send(EVENT_REGISTER, stream);
        streams.add(stream);
      }
      const answer = await send(CMD_REQUEST, command, fields, stream ?? null);
      if (textOf(answer.at(-1), 'success') === 'no') {
        throw new Error(`charon, ${command}: ${textOf(answer.at(-1), 'errmsg') || 'no'}`);
      }
      return answer;
    },
    listen: async (name) => void (await send(EVENT_REGISTER, name)),
    closed,
    close: () => giveUp(new Error('closed')),
  };
}

/** @param {number} type @param {string} name @param {import('./vici-message.mjs').ViciFields} fields */
function packetOf(type, name, fields) {
  const body = Buffer.concat([Buffer.from([type, name.length]), Buffer.from(name, 'latin1'), encodeMessage(fields)]);
  if (body.length > PACKET_BYTES_MAX)
    throw new RangeError(`vici carries packets of at most ${PACKET_BYTES_MAX} octets`);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length);
  return Buffer.concat([length, body]);
}
