let day = { number: Number.NaN, text: '' };
const TWO_DIGITS = Array.from({ length: 60 }, (_none, value) => String(value).padStart(2, '0'));

/** IMF-fixdate (RFC 9110 section 5.6.7) as toUTCString writes it, for one answer after another: they share the day. */
export function httpDate(at: Date): string {
  const second = Math.floor(at.getTime() / 1_000);
  const number = Math.floor(second / 86_400);
  if (number !== day.number) day = { number, text: new Date(number * 86_400_000).toUTCString().slice(0, -12) };
  const ofDay = second - number * 86_400;
  const minutes = Math.floor(ofDay / 60);
  const hour = Math.floor(minutes / 60);
  return `${day.text}${TWO_DIGITS[hour]}:${TWO_DIGITS[minutes - hour * 60]}:${TWO_DIGITS[ofDay - minutes * 60]} GMT`;
}
