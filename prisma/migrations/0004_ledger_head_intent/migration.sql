-- What the signer was last asked to sign as an audit head, written before it is asked: a crash between signature and
-- ledger_head would otherwise leave the signer at a size that we cannot prove from. Its frontier starts the next proof.
CREATE TABLE ledger_head_intent (
  epoch     integer PRIMARY KEY,
  size      bigint NOT NULL,
  frontier  bytea NOT NULL,
  head_text text NOT NULL,
  evidence  bytea NOT NULL
);
