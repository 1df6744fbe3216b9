// The HTTP API. An error response becomes an Error with the server's message.

const UNREACHABLE = "the server cannot be reached; check that it still runs, and try again";

async function request(path, options) {
  const response = await fetch(path, options).catch((error) => {
    if (error.name === "AbortError") throw error;
    throw new Error(UNREACHABLE); // The browser's own words ("Failed to fetch") say nothing to people.
  });
  const content = await response.json().catch(() => null);
  if (!response.ok) throw Object.assign(new Error(content?.error?.message ?? `the server answered with the status ${response.status}; try again in a moment`), { code: content?.error?.code });
  return content;
}

export const status = () => request("/api/status");

export const examples = () => request("/api/examples");

export const frame = (id) => request(`/api/frames/${id}`);

export const card = (id) => request(`/api/frames/${id}/card`);

// Nearly equal pictures of one scene come as one hit.
export function search({ q, like, feed, since, picture, cursor }, signal) {
  const parameters = new URLSearchParams({ fold: "true" });
  for (const [name, value] of Object.entries({ q, like, feed, since, cursor })) if (value) parameters.set(name, value);
  if (!picture) return request(`/api/search?${parameters}`, { signal });
  return request(`/api/search/image?${parameters}`, { method: "POST", body: picture, signal });
}

// Why the server has no picture of a frame, as an error in its own words; null where it has one.
export const whyNoPicture = (id, kind) => request(pictureUrl(id, kind)).then(() => null, (error) => error);

export const pictureUrl = (id, kind = "thumbnail") => `/api/frames/${id}/${kind}`;
