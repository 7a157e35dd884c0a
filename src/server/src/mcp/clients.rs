//! What particular clients cannot take.

use rmcp::model::Implementation;

use crate::mcp::answer::{Answer, Item};

/// How Claude Code names itself.
const CLAUDE_CODE: &str = "claude-code";
/// How Codex names itself.
const CODEX: &str = "codex-mcp-client";
/// How Gemini CLI names itself.
const GEMINI_CLI: &str = "gemini-cli";

/// Returns an answer without what the client loses or cannot take.
pub fn adapted(answer: Answer, client: Option<&Implementation>) -> Answer {
    let is = |name| client.is_some_and(|client| client.name.starts_with(name));
    match () {
        () if is(CLAUDE_CODE) => Answer { is_error: answer.is_error && !has_image(&answer), ..answer },
        () if is(GEMINI_CLI) => Answer {
            is_error: answer.is_error && !has_image(&answer),
            items: answer.items.into_iter().map(acceptable_to_gemini).collect(),
            ..answer
        },
        () if is(CODEX) => Answer { items: binary_last(answer.items), ..answer },
        () => answer,
    }
}

/// Puts binary files behind all others. Codex shows a model their base64, and no more of an answer than some 12,000 characters,
/// so that a binary file would push out the texts that follow it.
fn binary_last(items: Vec<Item>) -> Vec<Item> {
    let (binary, others): (Vec<_>, Vec<_>) = items.into_iter().partition(|item| matches!(item, Item::Resource { .. }));
    others.into_iter().chain(binary).collect()
}

/// Returns whether an image is part of the answer. Claude Code shows its model only the texts of an error, and Gemini CLI
/// its JSON, so that an image arrives only with an answer that is no error. Its text begins with how the program failed.
fn has_image(answer: &Answer) -> bool {
    answer.items.iter().any(|item| matches!(item, Item::Image { .. }))
}

/// Replaces a file that would make the client's model refuse the conversation by a text that says so.
///
/// Gemini CLI hands binary files on to its model's API as they are. That takes images, sounds, videos and PDFs; any other
/// type is an error which ends the session.
fn acceptable_to_gemini(item: Item) -> Item {
    match item {
        Item::Resource { uri, mime, .. } if !is_taken_by_gemini(mime) => Item::Text(format!(
            "{} is not returned: this client's model takes no files of type {mime}; leave text or an image in $OUT",
            uri.rsplit('/').next().unwrap_or(&uri)
        )),
        item => item,
    }
}

fn is_taken_by_gemini(mime: &str) -> bool {
    mime == "application/pdf" || ["audio/", "image/", "video/"].iter().any(|kind| mime.starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::outcome::Ending;
    use crate::testing;

    fn file(mime: &'static str) -> Item {
        Item::Resource { uri: "file:///sandbox/out/a.bin".to_owned(), mime, data: vec![0] }
    }

    fn items() -> Vec<Item> {
        let image = Item::Image { mime: "image/png", data: vec![1] };
        vec![Item::Text("a".into()), image, file("application/zip"), file("application/pdf")]
    }

    fn failure(items: Vec<Item>) -> Answer {
        let result = testing::run_result(Ending::Exited { code: 1 }, "");
        Answer { items, ..Answer::of(testing::outcome(result), 60) }
    }

    fn adapted_to(client: &str, answer: Answer) -> Answer {
        adapted(answer, Some(&Implementation::new(client, "1")))
    }

    #[test]
    fn file_that_ends_a_session_of_gemini_is_told_instead() {
        let told = "a.bin is not returned: this client's model takes no files of type application/zip; leave text or an \
                    image in $OUT";
        let mut expected = items();
        expected[2] = Item::Text(told.into());
        assert_eq!(adapted_to("gemini-cli-mcp-client-sandbox", failure(items())).items, expected);
    }

    #[test]
    fn image_of_a_failure_is_no_error_where_errors_are_texts() {
        for client in ["claude-code", "gemini-cli-mcp-client-sandbox"] {
            let answer = adapted_to(client, failure(items()));
            assert!(!answer.is_error && answer.text.starts_with("Command failed with exit code 1"), "{answer:?}");
            assert!(adapted_to(client, failure(vec![Item::Text("a".into())])).is_error);
        }
    }

    #[test]
    fn binary_files_push_out_no_text_of_codex() {
        let text = |text: &str| Item::Text(text.into());
        let given = vec![text("list"), file("application/zip"), text("a.png:"), items()[1].clone(), text("notes")];
        let expected = vec![text("list"), text("a.png:"), items()[1].clone(), text("notes"), file("application/zip")];
        assert_eq!(adapted_to("codex-mcp-client", failure(given)).items, expected);
    }

    #[test]
    fn other_clients_get_the_answer_as_it_is() {
        let answer = failure(items());
        assert_eq!(adapted(answer.clone(), None), answer);
        assert_eq!(adapted_to("inspector", answer.clone()), answer);
        assert_eq!(adapted_to("claude-code", answer).items, items());
    }
}
