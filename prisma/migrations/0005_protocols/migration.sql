-- EST and CMP: what a maker's model may do differently, whose vendor certificates we believe, and CMP's own memory.

-- A key of enrol-server that protects CMP answers.
ALTER TABLE machine DROP CONSTRAINT machine_kind_check;
ALTER TABLE machine ADD CONSTRAINT machine_kind_check
  CHECK (kind IN ('gateway','station','server','operator','decision','time','cmp-ra'));

-- Exceptions of one maker's model; a model without a row has none of them.
CREATE TABLE unit_model (
  id          integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  maker_id    integer NOT NULL REFERENCES maker(id),
  model       text NOT NULL,
  -- Path segment in EST and CMP addresses.
  label       text UNIQUE,
  tolerances  text[] NOT NULL DEFAULT '{}',
  mac_allowed boolean NOT NULL DEFAULT false,
  changed_by  text NOT NULL,
  changed_at  timestamptz NOT NULL,
  UNIQUE (maker_id, model)
);

-- A maker's own CA, believed for one model of that maker and only for keys that its manifests name (rules 3.5).
CREATE TABLE vendor_anchor (
  id              integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  maker_id        integer NOT NULL REFERENCES maker(id),
  model           text NOT NULL,
  name            text NOT NULL UNIQUE,
  certificate_der bytea NOT NULL,
  subject_der     bytea NOT NULL,
  spki_hash       bytea NOT NULL,
  not_after       timestamptz NOT NULL,
  intermediates   bytea[] NOT NULL DEFAULT '{}',
  -- CRLs of the maker's CAs, newest of each issuer.
  crls            bytea[] NOT NULL DEFAULT '{}',
  crls_at         timestamptz,
  state           text NOT NULL CHECK (state IN ('active','disabled')),
  created_by      text NOT NULL,
  created_at      timestamptz NOT NULL,
  UNIQUE (maker_id, model, spki_hash)
);

-- One vendor key belongs to one unit, as every key does (KEY-1).
CREATE UNIQUE INDEX unit_vendor_spki ON unit (vendor_spki_hash) WHERE vendor_spki_hash IS NOT NULL;

-- A CMP exchange. The key that protects its messages is part of its name, so nobody can take another's (rules 4).
-- The answer is kept for a day; the hash of the request longer, so that a recorded message never becomes a new one.
CREATE TABLE cmp_transaction (
  transaction_id    bytea NOT NULL,
  -- SHA-256 of the protecting public key, or of a MAC reference.
  protection_key    bytea NOT NULL,
  body_kind         text NOT NULL,
  state             text NOT NULL CHECK (state IN ('open','waiting','unconfirmed','closed')),
  -- SHA-256 of the message that opened it, and of the last one that was answered.
  first_hash        bytea NOT NULL,
  last_hash         bytea NOT NULL,
  -- DER of the answer to last_hash; null while it is being made, and after a day.
  response          bytea,
  -- DER of the opening request while it waits; null otherwise.
  request           bytea,
  -- DER of the protecting certificate: later messages of the exchange need not carry it again.
  protection_certificate bytea,
  -- Nonce of our last answer, and when it was made: what signs over it is live from then on.
  our_nonce         bytea,
  our_nonce_at      timestamptz,
  issuer_id         smallint,
  serial            bytea,
  not_after         timestamptz,
  claimed_at        timestamptz NOT NULL,
  created_at        timestamptz NOT NULL,
  PRIMARY KEY (transaction_id, protection_key)
);
CREATE INDEX cmp_transaction_created ON cmp_transaction (created_at);

-- Leave to ask for a bootstrap certificate with a shared secret, for one unit, once. The secret itself is nowhere: it is
-- derived from the reference under a key that the servers hold in a file.
CREATE TABLE mac_secret (
  reference  text PRIMARY KEY,
  unit_id    integer NOT NULL REFERENCES unit(id),
  state      text NOT NULL CHECK (state IN ('open','spent','withdrawn')),
  created_by text NOT NULL,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  spent_at   timestamptz
);
CREATE UNIQUE INDEX mac_secret_one_open ON mac_secret (unit_id) WHERE state = 'open';
