import fc from 'fast-check';

/** Who acts: the unit itself, or somebody with a copy of its flash. */
export type Actor = 'unit' | 'thief';

/** Where an address lies: the unit's own line, behind a CGNAT, on somebody else's line, or where no line is known. */
export type Place = 'home' | 'cgnat' | 'away' | 'nowhere';

/** One thing that happens. Plain data, so that a history can be printed and played again. */
export type Step =
  | {
      readonly do: 'renew';
      readonly by: Actor;
      readonly proof: 'nonce' | 'handshake';
      readonly answer: Answer;
      /** Tries before this one whose answers were lost, and how long each waited for it. */
      readonly lostBefore: number;
      readonly minutesApart: number;
    }
  | { readonly do: 'confirm'; readonly by: Actor; readonly answer: Answer }
  /** IKE with a proved key at a gateway, then its session. */
  | { readonly do: 'connect'; readonly by: Actor; readonly gateway: number; readonly from: Place }
  /** The open session asks again; its key was proved once (a gateway says so by keyProved: false). */
  | { readonly do: 'register'; readonly by: Actor; readonly stage: 'registration' | 'config' }
  /** The connection is gone; `said` = its gateway noticed. */
  | { readonly do: 'disconnect'; readonly by: Actor; readonly said: boolean }
  /** Power fails before the next key is on flash. */
  | { readonly do: 'power-cut'; readonly by: Actor }
  /** Gone without a word and back at once, at this gateway or another; flash is whole. */
  | { readonly do: 'reboot'; readonly by: Actor; readonly gateway: number; readonly from: Place }
  /** NAT: the outer address changes under a living session. */
  | { readonly do: 'rebind'; readonly by: Actor; readonly from: 'home' | 'cgnat' }
  /** Somebody without the key sends a recorded renewal once more, whole or with one bit turned. */
  | { readonly do: 'replay'; readonly pick: number; readonly bit: number | null; readonly proof: 'epoch' | 'recorded' }
  /** Somebody without the key shows a certificate of the unit's at a gateway, whole or with one bit turned. */
  | {
      readonly do: 'show';
      readonly pick: number;
      readonly bit: number | null;
      readonly gateway: number;
      readonly from: Place;
    }
  /** What a gateway (null: each of them) has to tell arrives, in some order, some of it twice. */
  | { readonly do: 'deliver'; readonly gateway: number | null; readonly order: 'as-is' | 'reversed' | 'twice' }
  /** Gateways read their questions and look. */
  | { readonly do: 'probe' }
  | { readonly do: 'wait'; readonly minutes: number };

/** Does the answer reach the one who asked? */
export type Answer = 'arrives' | 'lost';

export interface History {
  /** What a client does whose answer was lost: it asks again for the key it has, or makes another one. */
  readonly client: 'keeps its key' | 'makes a new key';
  readonly steps: readonly Step[];
  /** How many of the steps happen before the flash is copied; null = never. */
  readonly copiedAfter: number | null;
}

export const GATEWAYS = 3;

const gateway = fc.nat(GATEWAYS - 1);
const answer = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Answer>('arrives') },
  { weight: 1, arbitrary: fc.constant<Answer>('lost') },
);
const proof = fc.constantFrom('nonce' as const, 'handshake' as const);
/** Long ones are rare: a history of thirty steps would else spend most of them behind the end of its certificate. */
const minutes = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(1, 20, 70, 300) },
  { weight: 3, arbitrary: fc.constantFrom(1_440, 2 * 1_440) },
  { weight: 1, arbitrary: fc.constantFrom(3 * 1_440, 9 * 1_440) },
);
/** Mostly none; sometimes several in a row. */
const lostBefore = fc.oneof(
  { weight: 5, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 3 }) },
);
const bit = fc.option(fc.nat(8_000), { freq: 2 });

function stepsOf(by: fc.Arbitrary<Actor>, from: fc.Arbitrary<Place>): fc.Arbitrary<Step> {
  const step = <T extends Step['do']>(what: T) => fc.constant(what);
  return fc.oneof(
    {
      weight: 7,
      arbitrary: fc.record({
        do: step('renew'),
        by,
        proof,
        answer,
        lostBefore,
        minutesApart: fc.constantFrom(1, 20, 70),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: step('confirm'), by, answer }) },
    { weight: 7, arbitrary: fc.record({ do: step('connect'), by, gateway, from }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: step('register'),
        by,
        stage: fc.constantFrom('registration' as const, 'config' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: step('disconnect'), by, said: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ do: step('power-cut'), by }) },
    { weight: 2, arbitrary: fc.record({ do: step('reboot'), by, gateway, from }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: step('rebind'), by, from: fc.constantFrom('home' as const, 'cgnat' as const) }),
    },
    {
      weight: 2,
      arbitrary: fc.record({
        do: step('replay'),
        pick: fc.nat(20),
        bit,
        proof: fc.constantFrom('epoch' as const, 'recorded' as const),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: step('show'), pick: fc.nat(20), bit, gateway, from: anywhere }) },
    {
      weight: 3,
      arbitrary: fc.record({
        do: step('deliver'),
        gateway: fc.option(gateway, { freq: 1 }),
        order: fc.constantFrom('as-is' as const, 'reversed' as const, 'twice' as const),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: step('probe') }) },
    { weight: 4, arbitrary: fc.record({ do: step('wait'), minutes }) },
  );
}

const anywhere = fc.constantFrom<Place>('home', 'cgnat', 'away', 'nowhere');
const client = fc.oneof(
  { weight: 2, arbitrary: fc.constant<History['client']>('keeps its key') },
  { weight: 1, arbitrary: fc.constant<History['client']>('makes a new key') },
);

/** One unit, the net it lives in, and people who have heard it but hold no key. */
export const honestHistory: fc.Arbitrary<History> = fc.record({
  client,
  steps: fc.array(stepsOf(fc.constant<Actor>('unit'), fc.constantFrom<Place>('home', 'home', 'cgnat')), {
    minLength: 24,
    maxLength: 40,
  }),
  copiedAfter: fc.constant(null),
});

/** The same, and at some moment all that the unit holds is copied. */
export const dishonestHistory: fc.Arbitrary<History> = fc.record({
  client,
  steps: fc.array(
    stepsOf(fc.constantFrom<Actor>('unit', 'thief'), fc.constantFrom<Place>('home', 'cgnat', 'away', 'nowhere')),
    {
      minLength: 24,
      maxLength: 40,
    },
  ),
  copiedAfter: fc.nat(12),
});
