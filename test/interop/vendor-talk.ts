/** Units of a maker whose messages are built by hand: their certificates, and what they say with them. */
import { type RequestHeader, requestBody } from '../support/cmp-request.js';
import { type Answered, followUp, type Holder, holderOf, type Talk, talkTo, wish } from '../support/cmp-talk.js';
import type { VendorCertificate } from '../support/vendor-ca.js';
import type { MakerLine, MakerWorld, VendorUnit } from './maker-world.js';

export interface VendorTalk extends Talk {
  /** A unit with an installer's order. */
  ordered(line: MakerLine, leaf?: VendorCertificate): Promise<VendorUnit>;
  vendor(line: MakerLine): Promise<{ unit: VendorUnit; holder: Holder }>;
  /** A unit with its first operational certificate. */
  activated(line: MakerLine): Promise<{ unit: VendorUnit; op: Holder }>;
  /** With the maker's CA behind the certificate, unless told what to send. */
  say(
    line: MakerLine,
    holder: Holder,
    body: Buffer,
    header?: RequestHeader,
    extraCerts?: readonly Buffer[],
  ): Promise<Answered>;
  ir(line: MakerLine, holder: Holder, header?: RequestHeader, extraCerts?: readonly Buffer[]): Promise<Answered>;
  /** certConf without extraCerts. */
  confirm(holder: Holder, answer: Answered): Promise<Answered>;
}

export function vendorTalk(world: MakerWorld): VendorTalk {
  const talk = talkTo(world.cmp);
  const ordered: VendorTalk['ordered'] = async (line, leaf = world.leaf(line)) => {
    const unit = await world.addUnit(line, leaf);
    await world.order(unit);
    return unit;
  };
  const say: VendorTalk['say'] = (line, holder, body, header = {}, extraCerts = [holder.der, line.ca.der]) =>
    talk.send(talk.message(holder, body, header, { extraCerts }));
  return {
    ...talk,
    ordered,
    say,
    vendor: async (line) => {
      const unit = await ordered(line);
      return { unit, holder: holderOf(unit.as) };
    },
    activated: async (line) => {
      const unit = await ordered(line);
      const run = await world.ir(unit);
      if (run.code !== 0) throw new Error(`the unit was not activated:\n${run.text}`);
      return { unit, op: holderOf({ pemFile: run.certFile, keyFile: run.keyFile }) };
    },
    ir: (line, holder, header, extraCerts) => say(line, holder, requestBody.ir(wish()), header, extraCerts),
    confirm: (holder, answer) => {
      const body = requestBody.certConf({ certificateDer: answer.certificateDer ?? Buffer.alloc(0), status: 0 });
      return talk.send(talk.message(holder, body, followUp(answer), { extraCerts: [] }));
    },
  };
}
