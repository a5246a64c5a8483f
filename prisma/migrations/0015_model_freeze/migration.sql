-- Models whose units are not activated for now (ENR-5); the switch of the whole fleet stays in installation.
CREATE TABLE model_freeze (
  model     text PRIMARY KEY,
  reason    text NOT NULL,
  frozen_by text NOT NULL,
  frozen_at timestamptz NOT NULL
);
