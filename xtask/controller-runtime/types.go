// The objects, as the definition has them. zz_generated.deepcopy.go is made of this by controller-gen.
// +kubebuilder:object:generate=true
package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// Reindex is one move of an index.
// +kubebuilder:object:root=true
type Reindex struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ReindexSpec    `json:"spec"`
	Status *ReindexStatus `json:"status,omitempty"`
}

// ReindexList is some of them.
// +kubebuilder:object:root=true
type ReindexList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Reindex `json:"items"`
}

type ReindexSpec struct {
	AcceptWarnings          []string                 `json:"acceptWarnings,omitempty"`
	CatchUp                 *ReindexSpecCatchUp      `json:"catchUp,omitempty"`
	Conflicts               *string                  `json:"conflicts,omitempty"`
	DeletionPolicy          *string                  `json:"deletionPolicy,omitempty"`
	Destination             ReindexSpecDestination   `json:"destination"`
	DryRun                  *bool                    `json:"dryRun,omitempty"`
	Execution               *ReindexSpecExecution    `json:"execution,omitempty"`
	Script                  *ReindexSpecScript       `json:"script,omitempty"`
	Source                  ReindexSpecSource        `json:"source"`
	Suspend                 *bool                    `json:"suspend,omitempty"`
	SuspendPolicy           *string                  `json:"suspendPolicy,omitempty"`
	TtlSecondsAfterFinished *int64                   `json:"ttlSecondsAfterFinished,omitempty"`
	Verification            *ReindexSpecVerification `json:"verification,omitempty"`
	VersionPolicy           *string                  `json:"versionPolicy,omitempty"`
}

type ReindexSpecCatchUp struct {
	MaxRounds *int32 `json:"maxRounds,omitempty"`
}

type ReindexSpecDestination struct {
	ClusterRef   ReindexSpecDestinationClusterRef `json:"clusterRef"`
	IfExists     *string                          `json:"ifExists,omitempty"`
	Index        string                           `json:"index"`
	Mappings     *runtime.RawExtension            `json:"mappings,omitempty"`
	MappingsFrom *string                          `json:"mappingsFrom,omitempty"`
	OpType       *string                          `json:"opType,omitempty"`
	Pipeline     *string                          `json:"pipeline,omitempty"`
	Routing      *string                          `json:"routing,omitempty"`
	Settings     *ReindexSpecDestinationSettings  `json:"settings,omitempty"`
}

type ReindexSpecDestinationClusterRef struct {
	Name      string  `json:"name"`
	Namespace *string `json:"namespace,omitempty"`
}

type ReindexSpecDestinationSettings struct {
	Additional       *runtime.RawExtension `json:"additional,omitempty"`
	NumberOfReplicas *int32                `json:"numberOfReplicas,omitempty"`
	NumberOfShards   *int32                `json:"numberOfShards,omitempty"`
}

type ReindexSpecExecution struct {
	ActiveDeadlineSeconds *int64 `json:"activeDeadlineSeconds,omitempty"`
	BackoffLimit          *int32 `json:"backoffLimit,omitempty"`
	BatchSize             *int32 `json:"batchSize,omitempty"`
	BulkLoadTuning        *bool  `json:"bulkLoadTuning,omitempty"`
	Parallelism           *int32 `json:"parallelism,omitempty"`
	Partitions            *int32 `json:"partitions,omitempty"`
	RequestsPerSecond     *int32 `json:"requestsPerSecond,omitempty"`
}

type ReindexSpecScript struct {
	Lang   *string               `json:"lang,omitempty"`
	Params *runtime.RawExtension `json:"params,omitempty"`
	Source string                `json:"source"`
}

type ReindexSpecSource struct {
	ClusterRef     ReindexSpecSourceClusterRef    `json:"clusterRef"`
	ConnectTimeout *string                        `json:"connectTimeout,omitempty"`
	Index          string                         `json:"index"`
	Query          *runtime.RawExtension          `json:"query,omitempty"`
	SocketTimeout  *string                        `json:"socketTimeout,omitempty"`
	SourceFields   *ReindexSpecSourceSourceFields `json:"sourceFields,omitempty"`
}

type ReindexSpecSourceClusterRef struct {
	Name      string  `json:"name"`
	Namespace *string `json:"namespace,omitempty"`
}

type ReindexSpecSourceSourceFields struct {
	Excludes []string `json:"excludes,omitempty"`
	Includes []string `json:"includes,omitempty"`
}

type ReindexSpecVerification struct {
	Level      *string                        `json:"level,omitempty"`
	OnMismatch *string                        `json:"onMismatch,omitempty"`
	Repair     *ReindexSpecVerificationRepair `json:"repair,omitempty"`
	Sample     *int32                         `json:"sample,omitempty"`
}

type ReindexSpecVerificationRepair struct {
	DeleteExtras *bool `json:"deleteExtras,omitempty"`
}

type ReindexStatus struct {
	Checkpoint         *ReindexStatusCheckpoint   `json:"checkpoint,omitempty"`
	CompletionTime     *metav1.Time               `json:"completionTime,omitempty"`
	Conditions         []metav1.Condition         `json:"conditions,omitempty"`
	Destination        *ReindexStatusDestination  `json:"destination,omitempty"`
	DryRun             *ReindexStatusDryRun       `json:"dryRun,omitempty"`
	History            *ReindexStatusHistory      `json:"history,omitempty"`
	ObservedGeneration *int64                     `json:"observedGeneration,omitempty"`
	Partitions         []ReindexStatusPartition   `json:"partitions,omitempty"`
	Phase              *string                    `json:"phase,omitempty"`
	Plan               *ReindexStatusPlan         `json:"plan,omitempty"`
	Preflight          *ReindexStatusPreflight    `json:"preflight,omitempty"`
	Progress           *ReindexStatusProgress     `json:"progress,omitempty"`
	Result             *ReindexStatusResult       `json:"result,omitempty"`
	Source             *ReindexStatusSource       `json:"source,omitempty"`
	SpecHash           *string                    `json:"specHash,omitempty"`
	StartTime          *metav1.Time               `json:"startTime,omitempty"`
	Steps              []ReindexStatusStep        `json:"steps,omitempty"`
	Suspension         *ReindexStatusSuspension   `json:"suspension,omitempty"`
	Tuning             *ReindexStatusTuning       `json:"tuning,omitempty"`
	Verification       *ReindexStatusVerification `json:"verification,omitempty"`
}

type ReindexStatusCheckpoint struct {
	Digest     string `json:"digest"`
	Documents  int64  `json:"documents"`
	Operations int64  `json:"operations"`
}

type ReindexStatusDestination struct {
	ClusterUUID string  `json:"clusterUUID"`
	Created     *bool   `json:"created,omitempty"`
	IndexUUID   *string `json:"indexUUID,omitempty"`
	Version     string  `json:"version"`
}

type ReindexStatusDryRun struct {
	Allowlist        string                `json:"allowlist"`
	BatchSize        int32                 `json:"batchSize"`
	Bytes            int64                 `json:"bytes"`
	Documents        int64                 `json:"documents"`
	EstimatedSeconds int64                 `json:"estimatedSeconds"`
	Index            string                `json:"index"`
	IndexBody        *runtime.RawExtension `json:"indexBody,omitempty"`
	Parallelism      int32                 `json:"parallelism"`
	Partitions       int32                 `json:"partitions"`
}

type ReindexStatusHistory struct {
	Ranges       []ReindexStatusHistoryRange  `json:"ranges,omitempty"`
	RangesCopied *int32                       `json:"rangesCopied,omitempty"`
	Samples      []ReindexStatusHistorySample `json:"samples,omitempty"`
}

type ReindexStatusHistoryRange struct {
	Attempt   int32       `json:"attempt"`
	Documents int64       `json:"documents"`
	Id        int32       `json:"id"`
	Round     int32       `json:"round"`
	Seconds   int64       `json:"seconds"`
	StartedAt metav1.Time `json:"startedAt"`
}

type ReindexStatusHistorySample struct {
	At        metav1.Time `json:"at"`
	Documents int64       `json:"documents"`
}

type ReindexStatusPartition struct {
	Attempt   int32       `json:"attempt"`
	BatchSize *int32      `json:"batchSize,omitempty"`
	Failures  *int32      `json:"failures,omitempty"`
	Id        int32       `json:"id"`
	Message   *string     `json:"message,omitempty"`
	StartedAt metav1.Time `json:"startedAt"`
	State     string      `json:"state"`
	Task      *string     `json:"task,omitempty"`
}

type ReindexStatusPlan struct {
	BatchSize    int32                     `json:"batchSize"`
	Conflicted   *string                   `json:"conflicted,omitempty"`
	Done         string                    `json:"done"`
	DoneAt       *metav1.Time              `json:"doneAt,omitempty"`
	Indices      []ReindexStatusPlanIndice `json:"indices"`
	Parallelism  int32                     `json:"parallelism"`
	Relief       *int32                    `json:"relief,omitempty"`
	Repairs      *int32                    `json:"repairs,omitempty"`
	Round        int32                     `json:"round"`
	SourceShards *int32                    `json:"sourceShards,omitempty"`
	Undivided    *string                   `json:"undivided,omitempty"`
	Uneven       *string                   `json:"uneven,omitempty"`
}

type ReindexStatusPlanIndice struct {
	Highest int64  `json:"highest"`
	History string `json:"history"`
	Name    string `json:"name"`
	Noted   int64  `json:"noted"`
	Ranges  string `json:"ranges"`
	Uuid    string `json:"uuid"`
}

type ReindexStatusPreflight struct {
	Findings  []ReindexStatusPreflightFinding `json:"findings,omitempty"`
	Unchecked []string                        `json:"unchecked,omitempty"`
}

type ReindexStatusPreflightFinding struct {
	Accepted *bool  `json:"accepted,omitempty"`
	Message  string `json:"message"`
	Reason   string `json:"reason"`
	Severity string `json:"severity"`
}

type ReindexStatusProgress struct {
	DocumentsCopied         int64        `json:"documentsCopied"`
	DocumentsPerSecond      *int64       `json:"documentsPerSecond,omitempty"`
	DocumentsTotal          int64        `json:"documentsTotal"`
	DocumentsVerified       *int64       `json:"documentsVerified,omitempty"`
	EstimatedCompletionTime *metav1.Time `json:"estimatedCompletionTime,omitempty"`
	ObservedAt              *metav1.Time `json:"observedAt,omitempty"`
	PartitionsDone          *int32       `json:"partitionsDone,omitempty"`
	PartitionsRunning       *int32       `json:"partitionsRunning,omitempty"`
	PartitionsTotal         *int32       `json:"partitionsTotal,omitempty"`
	Percent                 int32        `json:"percent"`
}

type ReindexStatusResult struct {
	Batches              int64                        `json:"batches"`
	Created              int64                        `json:"created"`
	Deleted              int64                        `json:"deleted"`
	Failures             []ReindexStatusResultFailure `json:"failures,omitempty"`
	Noops                int64                        `json:"noops"`
	RequestsPerSecond    float64                      `json:"requestsPerSecond"`
	Retries              ReindexStatusResultRetries   `json:"retries"`
	ThrottledMillis      int64                        `json:"throttledMillis"`
	ThrottledUntilMillis int64                        `json:"throttledUntilMillis"`
	TimedOut             bool                         `json:"timedOut"`
	Took                 int64                        `json:"took"`
	Total                int64                        `json:"total"`
	Updated              int64                        `json:"updated"`
	VersionConflicts     int64                        `json:"versionConflicts"`
}

type ReindexStatusResultFailure struct {
	Id     *string `json:"id,omitempty"`
	Reason string  `json:"reason"`
	Status *int32  `json:"status,omitempty"`
}

type ReindexStatusResultRetries struct {
	Bulk   int64 `json:"bulk"`
	Search int64 `json:"search"`
}

type ReindexStatusSource struct {
	ClusterUUID string                      `json:"clusterUUID"`
	Indices     []ReindexStatusSourceIndice `json:"indices"`
	Remote      string                      `json:"remote"`
	Version     string                      `json:"version"`
}

type ReindexStatusSourceIndice struct {
	Name string `json:"name"`
	Uuid string `json:"uuid"`
}

type ReindexStatusStep struct {
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	Message    *string      `json:"message,omitempty"`
	Name       string       `json:"name"`
	StartedAt  *metav1.Time `json:"startedAt,omitempty"`
	State      string       `json:"state"`
}

type ReindexStatusSuspension struct {
	Seconds int64        `json:"seconds"`
	Since   *metav1.Time `json:"since,omitempty"`
}

type ReindexStatusTuning struct {
	GcDeletes        *string `json:"gcDeletes,omitempty"`
	NumberOfReplicas string  `json:"numberOfReplicas"`
	RefreshInterval  *string `json:"refreshInterval,omitempty"`
}

type ReindexStatusVerification struct {
	At                   *metav1.Time                          `json:"at,omitempty"`
	DestinationDocuments *int64                                `json:"destinationDocuments,omitempty"`
	DestinationSum       *string                               `json:"destinationSum,omitempty"`
	Differences          *ReindexStatusVerificationDifferences `json:"differences,omitempty"`
	DocumentsCompared    *int64                                `json:"documentsCompared,omitempty"`
	DurationSeconds      *int64                                `json:"durationSeconds,omitempty"`
	Level                string                                `json:"level"`
	RepairAttempts       *int32                                `json:"repairAttempts,omitempty"`
	Repairs              *int32                                `json:"repairs,omitempty"`
	SourceChanged        *bool                                 `json:"sourceChanged,omitempty"`
	SourceDocuments      *int64                                `json:"sourceDocuments,omitempty"`
	SourceSum            *string                               `json:"sourceSum,omitempty"`
	Verdict              string                                `json:"verdict"`
}

type ReindexStatusVerificationDifferences struct {
	Different int64                                         `json:"different"`
	Examples  []ReindexStatusVerificationDifferencesExample `json:"examples,omitempty"`
	Extra     int64                                         `json:"extra"`
	Missing   int64                                         `json:"missing"`
	More      *bool                                         `json:"more,omitempty"`
}

type ReindexStatusVerificationDifferencesExample struct {
	Id      string  `json:"id"`
	Kind    string  `json:"kind"`
	Routing *string `json:"routing,omitempty"`
}
