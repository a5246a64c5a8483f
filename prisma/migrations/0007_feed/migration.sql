-- How far each gateway has come in the revocation feed, and when it got there.

-- One row a gateway, made by its first acknowledgement. 0:0 = nothing yet.
CREATE TABLE gateway_cursor (
  gateway_id     integer PRIMARY KEY REFERENCES machine(id),
  received_epoch integer NOT NULL DEFAULT 0,
  received_seq   bigint NOT NULL DEFAULT 0,
  received_at    timestamptz,
  enforced_epoch integer NOT NULL DEFAULT 0,
  enforced_seq   bigint NOT NULL DEFAULT 0,
  enforced_at    timestamptz,
  CONSTRAINT gateway_cursor_enforced_is_received CHECK ((enforced_epoch, enforced_seq) <= (received_epoch, received_seq))
);

-- One row for each acknowledgement that passed at least one entry of the feed: the first at or beyond an entry says when
-- its gateway had it. Kept 90 days.
CREATE TABLE gateway_receipt (
  gateway_id integer NOT NULL REFERENCES machine(id),
  stage      text NOT NULL CHECK (stage IN ('received','enforced')),
  epoch      integer NOT NULL,
  seq        bigint NOT NULL,
  at         timestamptz NOT NULL,
  PRIMARY KEY (gateway_id, stage, epoch, seq)
);
CREATE INDEX gateway_receipt_at ON gateway_receipt (at);

-- The feed's own entries among all of the ledger's.
CREATE INDEX ledger_feed ON ledger (epoch, seq)
  WHERE kind IN ('certificate.revoked','certificate.held','certificate.released');
