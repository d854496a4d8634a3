//! Why a lookup came to nothing. None of these is ever an answer: "could not find out" is not "no groups".

use std::sync::Arc;

/// Why the directory could not be asked. Its text is one line and holds no secret, no name of a person and no text that
/// the server wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No connection to any server.
    #[error("the directory cannot be reached: {0}")]
    Unreachable(Unreachable),
    /// The connection ended before the answer came.
    #[error("the connection to the directory ended before the answer came")]
    Lost,
    /// A server did not answer in the time that one operation has.
    #[error("the directory did not answer in time")]
    TimedOut,
    /// The time for the whole lookup ended.
    #[error("the time for asking the directory ended")]
    Deadline,
    /// The directory does not accept our own name and password, or our certificate.
    #[error("the directory does not accept the service's credentials{0}")]
    Credentials(CredentialsFault),
    /// Our own password or certificate cannot be read, or is empty.
    #[error("the file with the service's credentials {0}")]
    Password(PasswordFault),
    /// The server refused, with this result code (RFC 4511, appendix A).
    #[error("the directory refused with result {0}")]
    Refused(ResultCode),
    /// A server cannot be used as configured: which, and why.
    #[error("the directory cannot be used as configured: {0}")]
    Unfit(Arc<str>),
    /// The server said what it may not, or what cannot be understood.
    #[error("the directory's answer is not usable: {0}")]
    Protocol(&'static str),
    /// An attribute of an entry holds what it may not.
    #[error("attribute `{attribute}` is not usable: {reason}")]
    Attribute {
        /// Which one; a configured name.
        attribute: Arc<str>,
        /// Why not.
        reason: &'static str,
    },
    /// The directory's client is being stopped.
    #[error("the directory's client is being stopped")]
    Stopped,
}

/// Why no connection could be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{server}: {reason}")]
pub struct Unreachable {
    /// The server as configured.
    pub server: Arc<str>,
    /// What went wrong.
    pub reason: Arc<str>,
}

/// Why the directory does not accept us, where it says so (Active Directory, Samba; MS-ERREF 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CredentialsFault {
    /// It does not say.
    Unsaid,
    /// `525`: there is no such account.
    NoAccount,
    /// `52e`: the password is wrong; some say so of an account that is not there, too.
    WrongPassword,
    /// `530`: the account may not log on at this time.
    NotNow,
    /// `531`: the account may not log on from this host.
    NotFromHere,
    /// `532`: the account's password expired.
    PasswordExpired,
    /// `533`: the account is disabled.
    Disabled,
    /// `701`: the account expired.
    AccountExpired,
    /// `773`: the account must change its password.
    MustChangePassword,
    /// `775`: the account is locked.
    Locked,
}

impl CredentialsFault {
    /// Reads the diagnostic message of a refused bind: `... comment: AcceptSecurityContext error, data 52e, v2580`.
    pub(super) fn of(message: &str) -> Self {
        let code = message.split("data ").nth(1).unwrap_or_default();
        let code = code.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        match code.to_ascii_lowercase().as_str() {
            "525" => Self::NoAccount,
            "52e" => Self::WrongPassword,
            "530" => Self::NotNow,
            "531" => Self::NotFromHere,
            "532" => Self::PasswordExpired,
            "533" => Self::Disabled,
            "701" => Self::AccountExpired,
            "773" => Self::MustChangePassword,
            "775" => Self::Locked,
            _ => Self::Unsaid,
        }
    }
}

impl std::fmt::Display for CredentialsFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unsaid => "",
            Self::NoAccount => ": there is no such account",
            Self::WrongPassword => ": the name or the password is wrong",
            Self::NotNow => ": the account may not log on at this time",
            Self::NotFromHere => ": the account may not log on from this host",
            Self::PasswordExpired => ": the account's password expired",
            Self::Disabled => ": the account is disabled",
            Self::AccountExpired => ": the account expired",
            Self::MustChangePassword => ": the account must change its password",
            Self::Locked => ": the account is locked",
        })
    }
}

/// What is wrong with the password file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFault {
    /// It cannot be read.
    #[error("cannot be read")]
    Unreadable,
    /// It is empty; an empty password would be an anonymous bind (RFC 4513, 5.1.2).
    #[error("is empty")]
    Empty,
    /// It is not UTF-8.
    #[error("is not UTF-8")]
    NotText,
}

/// An LDAP result code (RFC 4511, appendix A.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultCode(pub u32);

impl ResultCode {
    /// `timeLimitExceeded`.
    pub const TIME_LIMIT: Self = Self(3);
    /// `sizeLimitExceeded`.
    pub const SIZE_LIMIT: Self = Self(4);
    /// `adminLimitExceeded`.
    pub const ADMIN_LIMIT: Self = Self(11);
    /// `noSuchObject`.
    pub const NO_SUCH_OBJECT: Self = Self(32);
    /// `invalidCredentials`.
    pub const INVALID_CREDENTIALS: Self = Self(49);
    /// `constraintViolation`: the 389 Directory Server answers it to a bind while the account is locked.
    pub const CONSTRAINT_VIOLATION: Self = Self(19);
    /// `insufficientAccessRights`.
    pub const INSUFFICIENT_ACCESS: Self = Self(50);
    /// `busy`.
    pub const BUSY: Self = Self(51);
    /// `unavailable`.
    pub const UNAVAILABLE: Self = Self(52);

    /// Whether the server cut a result short, after whatever it sent.
    #[must_use]
    pub fn is_limit(self) -> bool {
        matches!(self, Self::TIME_LIMIT | Self::SIZE_LIMIT | Self::ADMIN_LIMIT)
    }

    /// Whether a bind was refused because of how it was done, not because of who did it:
    /// `authMethodNotSupported`, `strongerAuthRequired`, `confidentialityRequired`, `inappropriateAuthentication`.
    pub(super) fn is_about_the_way_to_bind(self) -> bool {
        matches!(self.0, 7 | 8 | 13 | 48)
    }

    /// Whether a search was refused because the server has forgotten that the connection is bound: Active Directory
    /// (`000004DC: LdapErr: ..., comment: In order to perform this operation a successful bind must be completed`) and
    /// Samba (`Operation unavailable without authentication`).
    pub(super) fn says_unbound(self, message: &str) -> bool {
        self.0 == 1
            && ["successful bind must be completed", "without authentication"]
                .iter()
                .any(|words| message.contains(words))
    }

    fn name(self) -> &'static str {
        match self.0 {
            0 => "success",
            1 => "operationsError",
            2 => "protocolError",
            3 => "timeLimitExceeded",
            4 => "sizeLimitExceeded",
            7 => "authMethodNotSupported",
            8 => "strongerAuthRequired",
            10 => "referral",
            11 => "adminLimitExceeded",
            12 => "unavailableCriticalExtension",
            13 => "confidentialityRequired",
            17 => "undefinedAttributeType",
            18 => "inappropriateMatching",
            19 => "constraintViolation",
            21 => "invalidAttributeSyntax",
            32 => "noSuchObject",
            34 => "invalidDNSyntax",
            48 => "inappropriateAuthentication",
            49 => "invalidCredentials",
            50 => "insufficientAccessRights",
            51 => "busy",
            52 => "unavailable",
            53 => "unwillingToPerform",
            80 => "other",
            _ => "unnamed",
        }
    }
}

impl std::fmt::Display for ResultCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.0, self.name())
    }
}

impl LookupError {
    /// Whether another connection may do better at once. Searches change nothing, so sending one twice does no harm.
    #[must_use]
    pub(super) fn is_worth_another_server(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::Unfit(_) | Self::Lost | Self::TimedOut => true,
            // One server may be behind the others. A secret that counts as refused everywhere is not sent again.
            Self::Credentials(_) => true,
            Self::Refused(code) => matches!(*code, ResultCode::BUSY | ResultCode::UNAVAILABLE),
            Self::Deadline
            | Self::Password(_)
            | Self::Protocol(_)
            | Self::Attribute { .. }
            | Self::Stopped => false,
        }
    }

    /// Whether the server answered, and only this one question has no answer: others may have.
    #[must_use]
    pub fn is_of_one_question(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Protocol(_) | Self::Attribute { .. })
            && !self.is_worth_another_server()
    }

    /// The `result` label of `directory_operations_total`.
    #[must_use]
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Lost => "lost",
            Self::TimedOut => "timeout",
            Self::Deadline => "deadline",
            Self::Credentials(_) => "credentials",
            Self::Password(_) => "password",
            Self::Refused(_) => "refused",
            Self::Unfit(_) => "unfit",
            Self::Protocol(_) | Self::Attribute { .. } => "protocol",
            Self::Stopped => "stopped",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_directorys_reasons_become_our_words() {
        let message = |code| {
            format!(
                "80090308: LdapErr: DSID-0C09044E, comment: AcceptSecurityContext error, data {code}, v2580\0"
            )
        };
        for (code, fault) in [
            ("525", CredentialsFault::NoAccount),
            ("52e", CredentialsFault::WrongPassword),
            ("52E", CredentialsFault::WrongPassword),
            ("530", CredentialsFault::NotNow),
            ("531", CredentialsFault::NotFromHere),
            ("532", CredentialsFault::PasswordExpired),
            ("533", CredentialsFault::Disabled),
            ("701", CredentialsFault::AccountExpired),
            ("773", CredentialsFault::MustChangePassword),
            ("775", CredentialsFault::Locked),
            ("0", CredentialsFault::Unsaid),
        ] {
            assert_eq!(CredentialsFault::of(&message(code)), fault, "{code}");
            assert!(!LookupError::Credentials(fault).to_string().contains("DSID"));
        }
        for message in ["", "data ", "data", "no data 52f", "Invalid credentials"] {
            assert_eq!(CredentialsFault::of(message), CredentialsFault::Unsaid, "{message}");
        }
    }
}
