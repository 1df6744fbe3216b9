// The HTTP API. An error response becomes an Error with the server's message.

async function answer(response) {
  const content = await response.json().catch(() => null);
  if (!response.ok) throw new Error(content?.error?.message ?? `the server answered ${response.status}`);
  return content;
}

export const status = async () => answer(await fetch("/api/status"));

export const frame = async (id) => answer(await fetch(`/api/frames/${id}`));

export async function search({ q, like, feed, since, picture }, signal) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries({ q, like, feed, since })) if (value) parameters.set(name, value);
  if (!picture) return answer(await fetch(`/api/search?${parameters}`, { signal }));
  return answer(await fetch(`/api/search/image?${parameters}`, { method: "POST", body: picture, signal }));
}

export const pictureUrl = (id, kind = "thumbnail") => `/api/frames/${id}/${kind}`;
