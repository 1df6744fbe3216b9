// A search in the page's address, so that it can be reloaded, shared and gone back to.

const NAMES = ["q", "like", "feed", "since"];

export function read() {
  const address = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, address.get(name) ?? ""]));
}

export function write(query) {
  const address = new URLSearchParams();
  for (const name of NAMES) if (query[name]) address.set(name, query[name]);
  const target = `${location.pathname}${address.size ? `?${address}` : ""}`;
  if (isOfDialog()) history.replaceState(null, "", target);
  else if (target !== location.pathname + location.search) history.pushState(null, "", target);
}

// An open dialog has an entry of its own in the history, so that Back closes it.
export const addDialog = () => history.pushState({ dialog: true }, "", location.href);

export const isOfDialog = () => Boolean(history.state?.dialog);

export function forgetDialog() {
  if (isOfDialog()) history.replaceState(null, "", location.href);
}
