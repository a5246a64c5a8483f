-- Bytes written to refusal_count on each day (UTC), over all processes: what keeps junk from filling the disk (rules 7.5).
CREATE TABLE refusal_budget (
  day   date PRIMARY KEY,
  bytes bigint NOT NULL
);
