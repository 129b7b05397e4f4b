//! What the operator of a measurement states of it.

use ondol_conformance::report::Submission;

/// Options of a report that is handed in.
#[derive(clap::Args)]
pub struct SubmissionArgs {
    /// Who applies for the test; the report has it [default: a line to fill in by hand]
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    applicant: String,
    /// Who carries it out [default: a line to fill in by hand]
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    tester: String,
    /// The serial number of the device [default: a line to fill in by hand]
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "",
        hide_default_value = true
    )]
    serial: String,
}

impl SubmissionArgs {
    /// What was stated.
    pub fn stated(&self) -> Submission {
        Submission {
            applicant: self.applicant.clone(),
            tester: self.tester.clone(),
            serial: self.serial.clone(),
        }
    }
}
