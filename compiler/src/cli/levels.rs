//! The options that say how findings count, as every command that checks has them.

use time::OffsetDateTime;

use crate::analysis::{Level, PAGES, Page};
use crate::diagnostic::hint;
use crate::findings::Checks;

/// How findings count.
#[derive(clap::Args, Debug, Clone, Default)]
pub struct LevelArgs {
    /// Set the level of an analysis: `error`, `warn`, `note` or `off`; repeatable, before what the Mesh document says
    #[arg(short = 'l', long = "level", value_name = "NAME=LEVEL", value_parser = level)]
    levels: Vec<(&'static str, Level)>,
    /// Count warnings as errors
    #[arg(long)]
    deny_warnings: bool,
}

impl LevelArgs {
    /// What the options say, today.
    pub(super) fn checks(&self) -> Checks {
        Checks {
            levels: self.levels.iter().map(|(name, level)| ((*name).to_owned(), *level)).collect(),
            deny_warnings: self.deny_warnings,
            today: Some(OffsetDateTime::now_utc().date()),
        }
    }
}

/// `NAME=LEVEL`, of an analysis whose level may be changed.
fn level(text: &str) -> Result<(&'static str, Level), String> {
    let (name, level) =
        text.split_once('=').ok_or("write it as `NAME=LEVEL`, such as `dead-backend=error`")?;
    let Some(page) = Page::find(name) else {
        let mut hint = hint(name, PAGES.iter().map(|page| page.name));
        if hint.is_empty() {
            "; `weft explain` lists them all".clone_into(&mut hint);
        }
        return Err(format!("there is no analysis `{name}`{hint}"));
    };
    if !page.adjustable {
        return Err(format!(
            "the level of `{name}` cannot be changed: nothing can be built from what it finds"
        ));
    }
    let level = Level::parse(level)
        .ok_or_else(|| format!("`{level}` is not a level; known are `error`, `warn`, `note` and `off`"))?;
    Ok((page.name, level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_names_with_levels() {
        assert_eq!(level("dead-backend=error"), Ok(("dead-backend", Level::Error)));
        assert_eq!(level("dead-backend=off"), Ok(("dead-backend", Level::Off)));
        let wrong = |text: &str| level(text).unwrap_err();
        assert_eq!(wrong("dead-backend"), "write it as `NAME=LEVEL`, such as `dead-backend=error`");
        assert_eq!(
            wrong("dead-bakend=off"),
            "there is no analysis `dead-bakend`; did you mean `dead-backend`?"
        );
        assert_eq!(wrong("x=off"), "there is no analysis `x`; `weft explain` lists them all");
        assert_eq!(
            wrong("dead-backend=warning"),
            "`warning` is not a level; known are `error`, `warn`, `note` and `off`"
        );
        assert_eq!(
            wrong("unknown-field=off"),
            "the level of `unknown-field` cannot be changed: nothing can be built from what it finds"
        );
    }
}
