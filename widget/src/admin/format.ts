// Numbers, times and names as text.

// The page is in English, so months are too.
const locale = navigator.languages.find((each) => /^en\b/.test(each)) ?? "en-GB";

const whole = new Intl.NumberFormat(locale);
const upToThree = new Intl.NumberFormat(locale, { maximumSignificantDigits: 3 });
const dollars = new Intl.NumberFormat(locale, {
  style: "currency",
  currency: "USD",
  currencyDisplay: "narrowSymbol",
  maximumSignificantDigits: 3,
});
const share = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
const local = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
const utc = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium", timeZone: "UTC" });
const day = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short", timeZone: "UTC" });

export const formatNumber = (value: number) => whole.format(value);
export const formatUsd = (value: number) => dollars.format(value);
export const formatShare = (value: number) => share.format(value);
export const formatDay = (date: string) => day.format(new Date(`${date}T00:00Z`));
export const formatScore = (value: number) => value.toFixed(2);

export function formatSeconds(value: number): string {
  if (value < 60) return `${upToThree.format(value)} s`;
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

/** "1 question", "2,000 questions" */
export function count(value: number, singular: string, plural = `${singular}s`): string {
  return `${whole.format(value)} ${value === 1 ? singular : plural}`;
}

export function formatBytes(value: number): string {
  return value < 1e6 ? `${upToThree.format(value / 1e3)} kB` : `${upToThree.format(value / 1e6)} MB`;
}

/** Local time, and the same in UTC. */
export function formatTime(iso: string): [string, string] {
  const date = new Date(iso);
  return [local.format(date), `${utc.format(date)} UTC`];
}

/** "small_talk" -> "Small talk" */
export function formatName(name: string): string {
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
