-- Acts over many units: what people signed, and how far it was carried out.

CREATE TABLE fleet_order (
  id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  -- Canonical JSON that people signed; its hash makes a repeat a repeat.
  request           text NOT NULL,
  request_hash      bytea NOT NULL UNIQUE,
  -- Sorted by their characters; the request holds their count and hash.
  serial_numbers    text[] NOT NULL,
  requested_by      integer NOT NULL REFERENCES person(id),
  request_signature bytea NOT NULL,
  approval_id       bigint UNIQUE REFERENCES approval(id),
  state             text NOT NULL CHECK (state IN ('waiting','running','done')),
  -- How many of serial_numbers were gone through, in their order; rises with each chunk, in its transaction.
  done_count        integer NOT NULL DEFAULT 0,
  unit_count        integer NOT NULL DEFAULT 0,
  certificate_count integer NOT NULL DEFAULT 0,
  key_count         integer NOT NULL DEFAULT 0,
  -- On the list, and no longer what was selected.
  passed_count      integer NOT NULL DEFAULT 0,
  last_error        text,
  created_at        timestamptz NOT NULL,
  started_at        timestamptz,
  finished_at       timestamptz
);
CREATE INDEX fleet_order_running ON fleet_order (id) WHERE state = 'running';

-- A text that two people signed is carried out once, whatever rows say later (rules 8.1).
CREATE TABLE approval_spent (
  request_hash bytea PRIMARY KEY,
  approval_id  bigint NOT NULL REFERENCES approval(id),
  at           timestamptz NOT NULL
);
