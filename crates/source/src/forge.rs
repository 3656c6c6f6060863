//! What a forge says of a repository: its API's answers, found from the address of the page.

use std::fmt;

use reqwest::Url;

use super::network::{Ask, Credential, Network, parse, refusal};
use scratchproof_error::{Error, Result};
use scratchproof_texts::text;

/// A repository of a forge whose API is known from its address.
#[derive(Clone)]
pub struct Forge {
    repository: Url,
    releases: Url,
    credential: Option<Credential>,
    /// The variable of the environment that holds a token for it.
    token: &'static str,
    name: String,
}

/// How an API names a repository.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Api {
    GitHub,
    GitLab,
    Gitea,
}

/// Hosts of pages, their APIs and the variables with tokens. Of another host the address of the API itself is to be given.
const KNOWN: [(&str, &str, Api, &str); 4] = [
    ("github.com", "https://api.github.com/", Api::GitHub, "GITHUB_TOKEN"),
    ("gitlab.com", "https://gitlab.com/api/v4/", Api::GitLab, "GITLAB_TOKEN"),
    ("codeberg.org", "https://codeberg.org/api/v1/", Api::Gitea, "GITEA_TOKEN"),
    ("gitea.com", "https://gitea.com/api/v1/", Api::Gitea, "GITEA_TOKEN"),
];

impl Forge {
    /// The repository whose page has this address (`https://github.com/org/name`), with the token of the environment
    /// (`GITHUB_TOKEN`, `GITLAB_TOKEN`, `GITEA_TOKEN`) if there is one. `None` if it is no such page.
    ///
    /// # Errors
    /// A usage error if the token holds characters that no token has.
    pub fn of(address: &str) -> Result<Option<Self>> {
        let Ok(url) = Url::parse(address) else { return Ok(None) };
        let host = url.host_str().unwrap_or_default().trim_start_matches("www.");
        let Some((_, api, kind, token)) = KNOWN.iter().find(|(known, ..)| url.scheme() == "https" && *known == host)
        else {
            return Ok(None);
        };
        let path: Vec<&str> =
            url.path_segments().map_or_else(Vec::new, |parts| parts.filter(|p| !p.is_empty()).collect());
        // What stands behind the name is a part of the page: `/-/tree/main`, `/releases`.
        let length = match kind {
            Api::GitLab => path.iter().position(|part| *part == "-").unwrap_or(path.len()),
            Api::GitHub | Api::Gitea => path.len().min(2),
        };
        if length < 2 {
            return Ok(None);
        }
        let secret = std::env::var(token).ok().filter(|secret| !secret.trim().is_empty());
        Self::at(api, *kind, &path[..length], token, secret.as_deref()).map(Some)
    }

    fn at(api: &str, kind: Api, path: &[&str], token: &'static str, secret: Option<&str>) -> Result<Self> {
        let base = parse(api)?;
        let credential = secret.map(|secret| {
            let bad = || Error::usage(text!("error-source/forge/holds-characters-no-token", token));
            Credential::bearer(secret.trim(), &base).ok_or_else(bad)
        });
        let joined = path.join("/");
        let full = joined.trim_end_matches(".git");
        let url = |more: &[&str]| {
            let mut url = base.clone();
            let segments = url.path_segments_mut();
            let mut segments = segments.map_err(|()| Error::usage(text!("error-source/forge/no-path", api)))?;
            segments.pop_if_empty();
            match kind {
                Api::GitLab => segments.push("projects").push(full).extend(more),
                Api::GitHub | Api::Gitea => segments.push("repos").extend(full.split('/')).extend(more),
            };
            drop(segments);
            Ok::<_, Error>(url)
        };
        let mut releases = url(&["releases"])?;
        releases.set_query(Some(if kind == Api::Gitea { "limit=50" } else { "per_page=100" }));
        let name = format!("repository {full} of {}", base.host_str().unwrap_or_default());
        Ok(Self { repository: url(&[])?, releases, credential: credential.transpose()?, token, name })
    }

    /// The API's answers: of the repository, and of its newest releases if it has any; each of at most `longest` bytes.
    ///
    /// # Errors
    /// If the forge cannot be reached, or shows no such repository.
    pub fn answers(&self, network: &Network, longest: usize) -> Result<Vec<Vec<u8>>> {
        let hint = || {
            Some(match self.credential {
                Some(_) => text!("error-source/forge/token-may-not", token = &self.token),
                None => text!("error-source/forge/needs-token", token = &self.token),
            })
        };
        let get = |url: &Url| network.whole(&Ask::whole(url, self.credential.as_ref(), &self.name), longest);
        let mut answers = vec![get(&self.repository)?.map_err(|status| refusal(&self.name, status, hint()))?];
        match get(&self.releases)? {
            Ok(list) if list.trim_ascii() != b"[]" => answers.push(list),
            // A repository may have no releases, or none that everybody may see.
            Ok(_) => {}
            Err(status) if matches!(status.as_u16(), 403 | 404) => {}
            Err(status) => return Err(refusal(&self.name, status, hint())),
        }
        Ok(answers)
    }
}

impl fmt::Debug for Forge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = if self.credential.is_some() { "with" } else { "without" };
        write!(f, "Forge({}, {token} a token)", self.name)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::testing::{Reply, Server, network};

    #[test]
    fn pages_of_known_forges_lead_to_their_apis() {
        for (page, repository, releases) in [
            ("https://github.com/o/r", "https://api.github.com/repos/o/r", "/releases?per_page=100"),
            ("https://www.github.com/o/r.git", "https://api.github.com/repos/o/r", "/releases?per_page=100"),
            ("https://github.com/o/r/releases/tag/v1", "https://api.github.com/repos/o/r", "/releases?per_page=100"),
            (
                "https://gitlab.com/g/s/r/-/tree/main",
                "https://gitlab.com/api/v4/projects/g%2Fs%2Fr",
                "/releases?per_page=100",
            ),
            ("https://codeberg.org/o/r/", "https://codeberg.org/api/v1/repos/o/r", "/releases?limit=50"),
        ] {
            let forge = Forge::of(page).unwrap().unwrap();
            assert_eq!(forge.repository.as_str(), repository);
            assert_eq!(forge.releases.as_str(), format!("{repository}{releases}"));
        }
        for page in [
            "https://github.com/o",
            "https://github.com.example.org/o/r",
            "http://github.com/o/r",
            "https://api.github.com/repos/o/r",
            "https://git.example.org/o/r",
            "github.com/o/r",
        ] {
            assert!(Forge::of(page).unwrap().is_none(), "{page}");
        }
    }

    #[test]
    fn answers_are_fetched_with_the_token_and_refusals_say_what_to_do() {
        let server = Server::start(|request| match request.path.as_str() {
            "/api/repos/o/r" | "/api/repos/o/bare" => Reply::whole(r#"{"full_name":"o/r"}"#),
            "/api/repos/o/r/releases?per_page=100" => Reply::whole(r#"[{"tag_name":"v1"}]"#),
            "/api/repos/o/bare/releases?per_page=100" => Reply::whole(" [] "),
            "/api/repos/o/limited" => Reply::status(403),
            _ => Reply::status(404),
        });
        let get = |name: &str, secret: Option<&str>| {
            let forge = Forge::at(&server.url("/api/"), Api::GitHub, &["o", name], "GITHUB_TOKEN", secret).unwrap();
            assert!(!format!("{forge:?}").contains("secret"));
            forge.answers(&network(), 1000)
        };
        assert_eq!(get("r", Some("secret")).unwrap().len(), 2);
        assert!(server.requests().iter().all(|request| request.headers["authorization"] == "Bearer secret"));
        assert_eq!(get("bare", None).unwrap().len(), 1);
        assert!(get("none", None).unwrap_err().to_string().contains("there is no repository o/none"));
        assert!(get("limited", None).unwrap_err().to_string().contains("set GITHUB_TOKEN"));
        let refused = get("limited", Some("secret")).unwrap_err().to_string();
        assert!(
            refused.contains("the token in GITHUB_TOKEN may not read it") && !refused.contains("secret"),
            "{refused}"
        );
    }
}
