//! The entries as templates, once a language.

use std::sync::OnceLock;

use minijinja::{Environment, UndefinedBehavior};

use crate::entries::entries;
use crate::{Language, filters};

/// All entries of a language, by key, with the filters.
pub(crate) fn environment(language: Language) -> &'static Environment<'static> {
    static ENVIRONMENTS: [OnceLock<Environment<'static>>; 2] = [const { OnceLock::new() }; 2];
    ENVIRONMENTS[language as usize].get_or_init(|| {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        filters::add(&mut environment, language);
        for (key, entry) in entries(language) {
            let added = environment.add_template_owned(key.clone(), entry.clone());
            debug_assert!(added.is_ok(), "{key}: {}", added.err().map_or_else(String::new, |e| format!("{e:#}")));
        }
        environment
    })
}
