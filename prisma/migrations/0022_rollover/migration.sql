-- Rollover (HSM-4): CAs come into use and go out of it while everything runs, a root is followed by another, and which
-- gateway knows which of them.

-- closing: issues nothing any more, its certificates are good until they end; retired: the last of them has ended.
ALTER TABLE issuer DROP CONSTRAINT issuer_state_check;
ALTER TABLE issuer ADD CONSTRAINT issuer_state_check CHECK (state IN ('active','spare','closing','retired','offline'));
ALTER TABLE issuer ADD COLUMN activated_at timestamptz, ADD COLUMN closed_at timestamptz;

-- What stopped issuing never issues again, whoever writes the row: a rollback would bring back a key that was given up.
CREATE FUNCTION refuse_return_of_issuer() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF (OLD.state = 'retired' AND NEW.state <> 'retired') OR (OLD.state = 'closing' AND NEW.state NOT IN ('closing', 'retired')) THEN
    RAISE EXCEPTION 'CA % is % and cannot become % again', OLD.label, OLD.state, NEW.state USING ERRCODE = '23514';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER issuer_never_returns BEFORE UPDATE OF state ON issuer FOR EACH ROW EXECUTE FUNCTION refuse_return_of_issuer();

-- A root delivered signed by the one before it (RFC 4210 section 4.4): who trusts the old one comes to the new one.
CREATE TABLE root_succession (
  successor_id   smallint PRIMARY KEY REFERENCES issuer(id),
  predecessor_id smallint NOT NULL UNIQUE REFERENCES issuer(id),
  new_with_old   bytea NOT NULL,
  old_with_new   bytea NOT NULL,
  entered_at     timestamptz NOT NULL
);

-- Which gateway has said that it knows a CA or a root; nothing is issued under it before all have.
CREATE TABLE gateway_anchor (
  gateway_id      integer NOT NULL REFERENCES machine(id),
  issuer_id       smallint NOT NULL REFERENCES issuer(id),
  acknowledged_at timestamptz NOT NULL,
  acknowledged_by text NOT NULL,
  PRIMARY KEY (gateway_id, issuer_id)
);
