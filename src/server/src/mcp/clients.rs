//! What particular clients cannot take.

use rmcp::model::Implementation;

use crate::mcp::answer::Item;

/// How Gemini CLI names itself.
const GEMINI_CLI: &str = "gemini-cli";

/// Replaces the files that would make the client's model refuse the conversation by a text that says so.
///
/// Gemini CLI hands binary files on to its model's API as they are. That takes images, sounds, videos and PDFs; any other
/// type is an error which ends the session.
pub fn acceptable(items: Vec<Item>, client: Option<&Implementation>) -> Vec<Item> {
    if !client.is_some_and(|client| client.name.starts_with(GEMINI_CLI)) {
        return items;
    }
    let replaced = |item| match item {
        Item::Resource { uri, mime, .. } if !is_taken_by_gemini(mime) => Item::Text(format!(
            "{} is not returned: this client's model takes no files of type {mime}; leave text or an image in $OUT",
            uri.rsplit('/').next().unwrap_or(&uri)
        )),
        item => item,
    };
    items.into_iter().map(replaced).collect()
}

fn is_taken_by_gemini(mime: &str) -> bool {
    mime == "application/pdf" || ["audio/", "image/", "video/"].iter().any(|kind| mime.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mime: &'static str) -> Item {
        Item::Resource { uri: "file:///sandbox/out/a.bin".to_owned(), mime, data: vec![0] }
    }

    fn items() -> Vec<Item> {
        let image = Item::Image { mime: "image/png", data: vec![1] };
        vec![Item::Text("a".into()), image, file("application/zip"), file("application/pdf")]
    }

    #[test]
    fn file_that_ends_a_session_of_gemini_is_told_instead() {
        let client = Implementation::new("gemini-cli-mcp-client-sandbox", "1");
        let told = "a.bin is not returned: this client's model takes no files of type application/zip; leave text or an \
                    image in $OUT";
        let mut expected = items();
        expected[2] = Item::Text(told.into());
        assert_eq!(acceptable(items(), Some(&client)), expected);
    }

    #[test]
    fn other_clients_get_all_files() {
        assert_eq!(acceptable(items(), None), items());
        assert_eq!(acceptable(items(), Some(&Implementation::new("claude-code", "1"))), items());
    }
}
