/** Iterates over the pages of a list method. */

/** Requests page after page until the last one. `fetchPage` gets the page token; empty: the first page. */
export async function* pagesOf<Page extends { readonly nextPageToken: string }>(
  fetchPage: (pageToken: string) => Promise<Page>,
): AsyncGenerator<Page, undefined> {
  let pageToken = "";
  do {
    const page = await fetchPage(pageToken);
    yield page;
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
}
