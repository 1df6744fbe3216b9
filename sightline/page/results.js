// What a search found, in words: how the query was read, how many pictures match, and why none does.

import { h } from "./dom.js";
import { count, family, percent, plural } from "./format.js";

const MAX_SUGGESTIONS = 14;

export const shownPictures = (hits) => hits.reduce((sum, hit) => sum + 1 + (hit.similar?.length ?? 0), 0);

// With a further page, what is shown is never given as the total.
export function title(hits, { cursor, total, total_is_exact: isExact }) {
  if (!hits.length) return "Nothing matches";
  const shown = shownPictures(hits);
  const folded = shown > hits.length;
  if (!cursor) return folded ? `${plural(shown, "picture")} in ${plural(hits.length, "scene")}` : plural(shown, "picture");
  const all = `${isExact ? "" : "at least "}${plural(Math.max(total, shown), "picture")}`;
  return folded ? `${plural(hits.length, "scene")} of ${all}` : `${count(hits.length)} of ${all}`;
}

export function interpretation(result, { picture, like, feed, sinceText }) {
  const chip = (text, className = "wanted", title = null) => h("span", { class: className, title }, text);
  return [
    picture ? chip("similar to your picture") : null,
    like ? chip("similar to this frame") : null,
    result.text ? chip(result.text) : null,
    ...result.counts.map((text) => chip(text)),
    ...result.negatives.map((text) => chip(`without ${text}`, "unwanted", "Excluded")),
    feed ? chip(`in ${feed}`) : null,
    sinceText ? chip(sinceText) : null,
  ].filter(Boolean);
}

export function notices(result, { hits, modelSet, isNarrowed, isSimilar, suggestion }) {
  return [
    result.unknown_words.length ? unknownWords(result, modelSet) : null,
    ...result.notes.map(failure),
    ...result.unknown_names.map(unknownName),
    result.out_of_domain ? outOfDomain(result.out_of_domain) : null,
    hits.length ? null : nothingMatches(result, { isNarrowed, isSimilar, suggestion }),
    hits.length && result.ranked && !result.calibrated ? uncalibrated() : null,
  ].filter(Boolean);
}

export const failure = (message) => h("p", { class: "notice warn" }, `${message[0].toUpperCase()}${message.slice(1)}.`);

function unknownWords(result, modelSet) {
  const words = result.unknown_words.flatMap((word) => [h("b", {}, word), ", "]).slice(0, -1);
  const rest = result.text ? [" The search was for ", h("b", {}, result.text), "."] : [];
  return h("p", { class: "notice warn" }, `The ${family(modelSet)} models do not know: `, ...words, ".", ...rest);
}

function unknownName({ kind, name, nearest }) {
  return h("p", { class: "notice warn" }, `There is no ${kind} `, h("b", {}, name), " in the index.", nearest.length ? ` Nearest: ${nearest.join(", ")}.` : "");
}

function outOfDomain(number) {
  const are = number === 1 ? "is" : "are";
  return h("p", { class: "notice" }, `${plural(number, "picture")} ${are} unlike those that these models were trained on, so words do not find ${number === 1 ? "it" : "them"}. Search by picture, or use models that know more: `, h("code", {}, "sightline models list"), ".");
}

function nothingMatches({ best, contents, nothing_left: isNothingLeft }, { isNarrowed, isSimilar, suggestion }) {
  const isEmpty = contents?.pictures === 0;
  const suggestions = contents && !isEmpty ? frequent(contents).map(([text, number]) => suggestion(text, number)) : [];
  return h(
    "div",
    { class: "notice nothing" },
    h("h3", {}, isNothingLeft ? "Nothing to search for is left" : "Nothing matches"),
    h("p", {}, reason({ best, isEmpty, isNothingLeft, isNarrowed, isSimilar })),
    suggestions.length ? h("p", { class: "examples" }, h("span", {}, `Frequent in ${plural(contents.pictures, "picture")}`), suggestions) : null,
  );
}

function reason({ best, isEmpty, isNothingLeft, isNarrowed, isSimilar }) {
  if (isEmpty) return "No picture is indexed yet. Pictures can be found as soon as a worker has processed them.";
  if (isNothingLeft) return "Say what a picture shows, in words that the models know.";
  const closest = best ? ` The closest one matches with a probability of ${percent(best)}.` : "";
  if (isSimilar) return `No other picture ${isNarrowed ? "that meets the filters " : ""}is similar enough.${closest}`;
  return `No picture in the index ${isNarrowed ? "meets that and the filters" : "shows that"}.${closest}`;
}

// What the index holds most often: phrases first, then labels that no phrase mentions.
function frequent({ phrases, labels }) {
  const mentioned = Object.keys(phrases).join(" ");
  return [...Object.entries(phrases), ...Object.entries(labels).filter(([label]) => !mentioned.includes(label))].slice(0, MAX_SUGGESTIONS);
}

function uncalibrated() {
  const command = h("code", {}, "sightline calibrate");
  return h("p", { class: "notice" }, "These models are not calibrated: scores are cosine similarities, and improbable matches are shown too. Run ", command, " to turn scores into probabilities.");
}
