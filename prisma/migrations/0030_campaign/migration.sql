-- Re-key these units, in waves, and stop when too many fail (LST-4, REN-1).
CREATE TABLE campaign (
  id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- Canonical JSON that people signed; its hash makes a repeat a repeat.
  request           text NOT NULL,
  request_hash      bytea NOT NULL UNIQUE,
  requested_by      integer NOT NULL REFERENCES person(id),
  request_signature bytea NOT NULL,
  approval_id       bigint UNIQUE REFERENCES approval(id),
  unit_count        integer NOT NULL,
  state             text NOT NULL CHECK (state IN ('waiting','running','paused','stopped','cancelled','done')),
  -- Why it does not run, in words.
  reason            text,
  last_error        text,
  created_at        timestamptz NOT NULL,
  started_at        timestamptz,
  finished_at       timestamptz
);
CREATE INDEX campaign_open ON campaign (id) WHERE state IN ('running','paused');

-- Its waves, with counters that are written with what they count: nobody counts units to show how far it is.
CREATE TABLE campaign_wave (
  campaign_id  bigint NOT NULL REFERENCES campaign(id),
  wave         integer NOT NULL,
  state        text NOT NULL CHECK (state IN ('waiting','opening','open','closed')),
  units        integer NOT NULL,
  advised      integer NOT NULL DEFAULT 0,
  renewed      integer NOT NULL DEFAULT 0,
  failed       integer NOT NULL DEFAULT 0,
  -- On the list, and nothing to re-key: not active, no certificate, key that cannot change, not selected any more.
  passed_over  integer NOT NULL DEFAULT 0,
  opened_at    timestamptz,
  deadline_at  timestamptz,
  closed_at    timestamptz,
  PRIMARY KEY (campaign_id, wave)
);

-- The list that people signed, a row a unit; n: place on it.
CREATE TABLE campaign_unit (
  campaign_id bigint NOT NULL REFERENCES campaign(id),
  wave        integer NOT NULL,
  n           integer NOT NULL,
  unit_id     integer NOT NULL,
  -- What was in use when it was told to renew.
  slot_id     bigint,
  outcome     text NOT NULL CHECK (outcome IN ('waiting','advised','renewed','failed','passed-over')),
  PRIMARY KEY (campaign_id, wave, n)
);
